"""Azure Machine Learning: implements `lifecycle.platform` on azure-ai-ml and azure-identity."""

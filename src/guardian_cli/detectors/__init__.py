"""What scores a frame: CLIP, custom models behind endpoints, and the offline detector."""

"""The corruptions of ImageNet-C and CIFAR-10-C. Hendrycks and Dietterich 2019, arXiv:1903.12261.

Nineteen types in five severities, on batches, where the images are; 8-bit images in and out, truncated and not rounded,
as the published ones. Constants are those of the two sources for 32 x 32 and for 224 x 224 images. `catalogue` applies
them, `levels` lists them.
"""

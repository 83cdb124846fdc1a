"""Artifacts in a bucket that speaks S3, through boto3 or obstore."""

resource "aws_ssm_parameter" "key" {
  name = "INNGEST_SIGNING_KEY"
}
# INNGEST_EVENT_KEY is set by hand

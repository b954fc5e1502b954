package fault

// Codes of webhooks that come in.
const (
	CodeWebhookSignatureMissing   Code = "webhook-signature-missing"
	CodeWebhookSignatureMalformed Code = "webhook-signature-malformed"
	CodeWebhookSignatureExpired   Code = "webhook-signature-expired"
	CodeWebhookSignatureWrong     Code = "webhook-signature-wrong"
	CodeWebhookSettings           Code = "webhook-settings" // how a route verifies cannot be set up
	CodeWebhookSecret             Code = "webhook-secret"   // a secret that cannot be a key
)

// Codes of webhooks that go out.
const (
	CodeWebhookUnknown  Code = "webhook-unknown"
	CodeWebhookInvalid  Code = "webhook-invalid"  // an endpoint that cannot be as it was asked for
	CodeWebhookAddress  Code = "webhook-address"  // an address that webhooks do not go to
	CodeWebhookDisabled Code = "webhook-disabled" // an endpoint that gets nothing
	CodeWebhookTooMany  Code = "webhook-too-many"
	CodeWebhookRotated  Code = "webhook-rotated" // too often within a day
)

// CodeGatewayWebhook is of a route of the gateway whose signature cannot be verified as its manifest says.
const CodeGatewayWebhook Code = "gateway-webhook"

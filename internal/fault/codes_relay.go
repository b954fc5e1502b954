package fault

// Codes of requests that the relay, the gateway or the mesh refuses.
const (
	CodeServiceNotReady Code = "service-not-ready"
	CodeServiceBusy     Code = "service-busy"
	CodeServiceFailed   Code = "service-failed"
	CodeServiceTimeout  Code = "service-timeout"

	CodeRequestRefused  Code = "request-refused"
	CodePathRefused     Code = "path-refused"
	CodeHeaderTooLarge  Code = "header-too-large"
	CodeBodyTooLarge    Code = "body-too-large"
	CodeClientTooSlow   Code = "client-too-slow"
	CodeRouteNotFound   Code = "route-not-found"
	CodeMethodRefused   Code = "method-refused"
	CodeOriginRefused   Code = "origin-refused"
	CodeAuthMissing     Code = "auth-missing"
	CodeAuthRefused     Code = "auth-refused"
	CodeAuthUnavailable Code = "auth-unavailable"
	CodeLimitExceeded   Code = "limit-exceeded"
)

// Codes of a gateway that cannot be set up as its manifest says.
const (
	CodeGatewayRoute  Code = "gateway-route"
	CodeGatewayAuth   Code = "gateway-auth"
	CodeGatewayTLS    Code = "gateway-tls"
	CodeGatewayCORS   Code = "gateway-cors"
	CodeGatewayProxy  Code = "gateway-proxy"
	CodeGatewaySecret Code = "gateway-secret"
)

package sdk

import (
	"net/url"
	"path/filepath"

	"github.com/atollhq/atoll/internal/fault"
)

// Codes of the faults that the SDK itself finds.
const (
	CodeNoPort         = fault.CodeSDKNoPort
	CodeUndeclaredCall = fault.CodeSDKUndeclaredCall
	CodeDatabaseURL    = fault.CodeSDKDatabaseURL
	CodeNoEvents       = fault.CodeSDKNoEvents
	CodeNoDialect      = fault.CodeSDKNoDialect

	CodeWebhookMissing   = fault.CodeWebhookSignatureMissing
	CodeWebhookMalformed = fault.CodeWebhookSignatureMalformed
	CodeWebhookExpired   = fault.CodeWebhookSignatureExpired
	CodeWebhookWrong     = fault.CodeWebhookSignatureWrong
	CodeWebhookSecret    = fault.CodeWebhookSecret
)

// SQLitePath is the file that a DATABASE_URL of the form sqlite:///path/to/file.db names.
func SQLitePath(databaseURL string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || u.Scheme != "sqlite" || u.Host != "" || !filepath.IsAbs(u.Path) || u.Path == "/" {
		return "", fault.New(CodeDatabaseURL, "DATABASE_URL is not the address of a SQLite file.").
			Fix("add `database: sqlite` to service.yaml, or set DATABASE_URL=sqlite:///absolute/path.db by hand").
			Because(err)
	}
	return u.Path, nil
}

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
	CodeNoSagas        = fault.CodeSDKNoSagas

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

// SQLiteDSN is what the driver modernc.org/sqlite opens for a DATABASE_URL of that form, as suits a file that Atoll's outbox
// reads too: sql.Open("sqlite", dsn). The file has a write-ahead log; who finds it locked waits up to 5 s; and a transaction
// takes the lock for writing when it begins, since one that takes it later may be refused at once.
func SQLiteDSN(databaseURL string) (string, error) {
	path, err := SQLitePath(databaseURL)
	if err != nil {
		return "", err
	}
	file := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	return file.String() + "?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)", nil
}

package outreach

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"time"
)

// Mail is one to be sent.
type Mail struct {
	From, To    mail.Address
	MessageID   string // with its angle brackets; the same for each try
	Unsubscribe string // URL
	Date        time.Time
	content
}

// Bytes is the mail after RFC 5322, with both forms of its text (RFC 2046) and the headers of RFC 2369 and RFC 8058 by which
// a mail program offers to unsubscribe. A relay that signs has to sign those two as well.
func (m Mail) Bytes() ([]byte, error) {
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	sum := sha256.Sum256([]byte(m.MessageID)) // no line of the text begins with this
	if err := parts.SetBoundary(hex.EncodeToString(sum[:16])); err != nil {
		return nil, fmt.Errorf("write mail: %w", err)
	}
	for _, h := range [][2]string{
		{"From", m.From.String()},
		{"To", m.To.String()},
		{"Subject", mime.QEncoding.Encode("utf-8", strings.TrimSpace(m.subject))},
		{"Date", m.Date.Format(time.RFC1123Z)},
		{"Message-ID", m.MessageID},
		{"List-Unsubscribe", "<" + m.Unsubscribe + ">"},
		{"List-Unsubscribe-Post", "List-Unsubscribe=One-Click"},
		{"MIME-Version", "1.0"},
		{"Content-Type", `multipart/alternative; boundary="` + parts.Boundary() + `"`},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	for _, part := range [][2]string{{"text/plain", m.text}, {"text/html", m.html}} {
		w, err := parts.CreatePart(textproto.MIMEHeader{
			"Content-Type": {part[0] + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"},
		})
		if err != nil {
			return nil, fmt.Errorf("write mail: %w", err)
		}
		q := quotedprintable.NewWriter(w)
		if _, err := q.Write([]byte(part[1])); err != nil {
			return nil, fmt.Errorf("write mail: %w", err)
		}
		if err := q.Close(); err != nil {
			return nil, fmt.Errorf("write mail: %w", err)
		}
	}
	if err := parts.Close(); err != nil {
		return nil, fmt.Errorf("write mail: %w", err)
	}
	return b.Bytes(), nil
}

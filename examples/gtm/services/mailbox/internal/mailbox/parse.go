package mailbox

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
)

// parse reads a mail after RFC 5322 and MIME: its text and its HTML, wherever they stand.
func parse(text string) (Mail, error) {
	raw, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		return Mail{}, fmt.Errorf("read mail: %w", err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(raw.Header.Get("Subject"))
	if err != nil {
		subject = raw.Header.Get("Subject")
	}
	m := Mail{
		MessageID: raw.Header.Get("Message-Id"), Subject: subject,
		Unsubscribe: strings.Trim(raw.Header.Get("List-Unsubscribe"), "<> "),
	}
	return m, m.part(textproto.MIMEHeader(raw.Header), raw.Body, 0)
}

func (m *Mail) part(h textproto.MIMEHeader, body io.Reader, depth int) error {
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		media = "text/plain"
	}
	if strings.HasPrefix(media, "multipart/") {
		if depth == 5 {
			return errors.New("read mail: its parts are nested too deep")
		}
		return m.parts(multipart.NewReader(body, params["boundary"]), depth)
	}
	switch strings.ToLower(h.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("read part: %w", err)
	}
	switch {
	case media == "text/plain" && m.Text == "":
		m.Text = string(text)
	case media == "text/html" && m.HTML == "":
		m.HTML = string(text)
	}
	return nil
}

func (m *Mail) parts(r *multipart.Reader, depth int) error {
	for {
		p, err := r.NextRawPart() // NextPart would undo an encoding by itself
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read part: %w", err)
		}
		if err := m.part(p.Header, p, depth+1); err != nil {
			return err
		}
	}
}

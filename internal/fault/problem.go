package fault

import "encoding/json"

// ProblemType is the media type of a problem document (RFC 9457).
const ProblemType = "application/problem+json"

// Problem is a problem document after RFC 9457, the body of every error that Atoll answers over HTTP.
type Problem struct {
	Type     string `json:"type"`               // "urn:atoll:error:" and the code, or "about:blank"
	Title    string `json:"title"`              // the kind of problem, the same for each occurrence
	Status   int    `json:"status"`             // the HTTP status
	Detail   string `json:"detail,omitempty"`   // this occurrence, for users
	Instance string `json:"instance,omitempty"` // the path of the request
	Code     Code   `json:"code,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
	TraceID  string `json:"trace_id,omitempty"`
	Column   int    `json:"column,omitempty"` // of a query's text, in characters from 1
	Width    int    `json:"width,omitempty"`  // characters from there on that the problem is about
}

// ProblemFor describes e as a problem document with the given HTTP status. The title is that of the code's
// page.
func ProblemFor(e *Error, status int) Problem {
	title := string(e.Code)
	if page, ok := PageOf(e.Code); ok {
		title = page.Title
	}
	p := Problem{
		Type: "urn:atoll:error:" + string(e.Code), Title: title, Status: status,
		Detail: e.Text, Code: e.Code, Remedy: e.Remedy,
	}
	if e.File == QueryFile {
		p.Column, p.Width = e.Column, e.Width
	}
	return p
}

// JSON is the document's body.
func (p Problem) JSON() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic("fault: a problem document of strings and numbers does not marshal: " + err.Error())
	}
	return append(b, '\n')
}

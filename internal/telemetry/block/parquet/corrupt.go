package parquet

import "fmt"

// Corrupt is the error of bytes that are not what they should be: rotted, cut, or never written by this package.
type Corrupt struct {
	Where string // the part of the file: "footer", "group 3, column service, page 2"
	What  string
}

func (c *Corrupt) Error() string { return "parquet: " + c.Where + ": " + c.What }

func corrupt(where, format string, args ...any) error {
	return &Corrupt{Where: where, What: fmt.Sprintf(format, args...)}
}

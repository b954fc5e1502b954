package saga

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Lines splits history as stores keep it: the Records of changes, one after the other, each a list of lines or a line.
func Lines(records []byte) ([]json.RawMessage, error) {
	var out []json.RawMessage
	for dec := json.NewDecoder(bytes.NewReader(records)); ; {
		var value json.RawMessage
		err := dec.Decode(&value)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		if value[0] != '[' {
			out = append(out, value)
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(value, &list); err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		out = append(out, list...)
	}
}

// GrantedSignal is what a store tells an instance that a lock was given on to.
func GrantedSignal(instance string) Signal {
	event, err := json.Marshal(Event{Kind: EventGranted})
	if err != nil {
		panic("saga: an event that is no JSON: " + err.Error())
	}
	return Signal{Instance: instance, Event: event}
}

package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Labels tell alerts apart. A label that is empty is as one that is not there.
type Labels map[string]string

// The labels that every alert has.
const (
	LabelAlert    = "alert"    // name of the rule
	LabelSeverity = "severity" // how urgent it is
	LabelService  = "service"  // of the default alerts: the service that it is about, where it is about one
)

// Key is the same for the same labels and no others.
func (l Labels) Key() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if l[name] == "" {
			continue
		}
		b.WriteString(strconv.Quote(name))
		b.WriteByte('=')
		b.WriteString(strconv.Quote(l[name]))
		b.WriteByte(',')
	}
	return b.String()
}

// Fingerprint is a short name of the labels: 16 hexadecimal digits.
func (l Labels) Fingerprint() string { return shortHash(l.Key()) }

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// String is the labels as a matcher would write them.
func (l Labels) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if l[name] != "" {
			parts = append(parts, name+"="+l[name])
		}
	}
	return strings.Join(parts, " ")
}

// with is l with more labels over it, those that are empty left out.
func (l Labels) with(more Labels) Labels {
	out := make(Labels, len(l)+len(more))
	for _, labels := range []Labels{l, more} {
		for name, value := range labels {
			out[name] = value
			if value == "" {
				delete(out, name)
			}
		}
	}
	return out
}

// only is l reduced to some names.
func (l Labels) only(names []string) Labels {
	out := Labels{}
	for _, name := range names {
		if l[name] != "" {
			out[name] = l[name]
		}
	}
	return out
}

// common is what several sets of labels have in common.
func common(all []Labels) Labels {
	if len(all) == 0 {
		return Labels{}
	}
	out := maps.Clone(all[0])
	for _, l := range all[1:] {
		maps.DeleteFunc(out, func(name, value string) bool { return l[name] != value })
	}
	return out
}

package telemetry

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
)

// Level is how grave a record is.
type Level string

// The levels, from low to high.
const (
	LevelDebug Level = "debug"
	LevelInfo  Level = "info"
	LevelWarn  Level = "warn"
	LevelError Level = "error"
)

func levels() []Level { return []Level{LevelDebug, LevelInfo, LevelWarn, LevelError} }

// AtLeast tells whether l is as grave as other. The empty level is the lowest.
func (l Level) AtLeast(other Level) bool {
	return slices.Index(levels(), l) >= slices.Index(levels(), other)
}

// ParseLevel reads the name of a level as people and programs write it.
func ParseLevel(text string) (Level, error) {
	if l, ok := levelOfWord(text); ok {
		return l, nil
	}
	return "", fault.New(fault.CodeBadLevel, "%q is not a level", text).Fix("write debug, info, warn or error")
}

// levelOfWord knows the words for levels of the common logging libraries.
func levelOfWord(word string) (Level, bool) {
	switch strings.ToLower(word) {
	case "trace", "debug", "dbg", "verbose", "fine", "finer", "finest":
		return LevelDebug, true
	case "info", "inf", "information", "notice", "log":
		return LevelInfo, true
	case "warn", "warning", "wrn":
		return LevelWarn, true
	case "error", "err", "erro", "fatal", "critical", "crit", "panic", "severe", "alert", "emerg", "emergency", "dpanic":
		return LevelError, true
	}
	return "", false
}

// LevelOf finds the level of a line of output: a field of a JSON object, level= of logfmt, or a word near its
// beginning that stands like one (INFO, [warn], WARNING:). A line that says nothing is of level info.
func LevelOf(line string) Level {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "{") {
		if l, ok := levelOfJSON(line); ok {
			return l
		}
	}
	for _, key := range []string{"level=", "lvl=", "severity="} {
		if _, rest, ok := strings.Cut(line, key); ok {
			if l, ok := levelOfWord(firstWord(strings.TrimPrefix(rest, `"`))); ok {
				return l
			}
		}
	}
	for _, sign := range []string{"panic: ", "fatal error: ", "Traceback (most recent call last)", "Uncaught ", "goroutine 1 ["} {
		if strings.HasPrefix(line, sign) {
			return LevelError
		}
	}
	return levelNearBeginning(line)
}

// compilerLine is how compilers name a place: file:line:column: or file(line,column):
var compilerLine = regexp.MustCompile(`^[^\s:()]+(:[0-9]+(:[0-9]+)?: |\([0-9]+,[0-9]+\): )`)

// LevelOfBuild finds the level of a line of a build: one that names a place in a source file is an error unless it
// says that it is none.
func LevelOfBuild(line string) Level {
	if compilerLine.MatchString(line) && !strings.Contains(strings.ToLower(line), "warning") {
		return LevelError
	}
	return LevelOf(line)
}

// levelNearBeginning looks at the first words for one in capitals, in brackets, or with a colon behind.
func levelNearBeginning(line string) Level {
	const words = 6
	rest := line[:min(len(line), 100)]
	for i, word := range strings.Fields(rest) {
		if i == words {
			break
		}
		bare := strings.Trim(word, "[]():|<>")
		l, ok := levelOfWord(bare)
		if ok && (bare == strings.ToUpper(bare) || strings.HasPrefix(word, "[") || strings.HasSuffix(word, ":") && i < 3) {
			return l
		}
	}
	return LevelInfo
}

func firstWord(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
	if end < 0 {
		return s
	}
	return s[:end]
}

func levelOfJSON(line string) (Level, bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(line), &fields) != nil {
		return "", false
	}
	for _, key := range []string{"level", "severity", "lvl", "log.level", "loglevel", "Level", "@l"} {
		raw, ok := fields[key]
		if !ok {
			continue
		}
		var word string
		if json.Unmarshal(raw, &word) == nil {
			return levelOfWord(word)
		}
		var number int
		if json.Unmarshal(raw, &number) == nil { // pino and bunyan: 10 trace to 60 fatal
			return levels()[min(max(number/10-2, 0), 3)], true
		}
	}
	return "", false
}

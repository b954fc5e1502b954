package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// maxFile is the size of the largest schema that is read.
const maxFile = 4 << 20

// Contracts are the compiled schemas of an application's topics.
type Contracts struct {
	schemas map[string]*jsonschema.Schema // by topic
}

// Compile reads the schemas that the topics of an application name. The error is a fault.List.
func Compile(app *manifest.App) (*Contracts, error) {
	c := &Contracts{schemas: map[string]*jsonschema.Schema{}}
	var faults fault.List
	for _, topic := range app.Topics() {
		if topic.Schema == "" {
			continue
		}
		schema, err := compile(app.Dir, topic.Schema)
		if err != nil {
			faults = append(faults, broken(app.Dir, topic.Name, topic.Schema, err))
			continue
		}
		c.schemas[topic.Name] = schema
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

func compile(dir, file string) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.UseLoader(loader{dir, filepath.Dir(file)})
	return c.Compile(fileURL(file))
}

// fileURL is the URL of a file by its absolute path.
func fileURL(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/schema.json
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// loader reads schemas from files below one of its folders.
type loader []string

var (
	errNoFile  = errors.New("it is not a file, and schemas are not fetched from a network")
	errOutside = errors.New("it lies outside of the application's folder")
	errLarge   = errors.New("it is larger than 4 MiB")
	errNotJSON = errors.New("it is not JSON")
)

// Load reads what a URL names.
func (l loader) Load(address string) (any, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" || u.Host != "" {
		return nil, errNoFile
	}
	path, err := jsonschema.FileLoader{}.ToFile(address)
	if err != nil {
		return nil, errNoFile
	}
	text, err := l.read(path)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	return doc, nil
}

func (l loader) read(path string) ([]byte, error) {
	inside := false
	for _, dir := range l {
		rel, err := filepath.Rel(dir, path)
		inside = inside || err == nil && filepath.IsLocal(rel)
	}
	if !inside {
		return nil, errOutside
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxFile {
		return nil, errLarge
	}
	return os.ReadFile(path)
}

// broken says what is wrong with the schema of a topic.
func broken(dir, topic, file string, err error) *fault.Error {
	why := "it cannot be compiled"
	remedy := "correct the file; a schema may refer to files in the application's folder, and to nothing on a network"
	switch e := err.(type) { //nolint:errorlint // the compiler returns these as they are
	case *jsonschema.LoadURLError:
		why = fmt.Sprintf("%s cannot be read: %s", relative(dir, e.URL), loadProblem(e.Err))
	case *jsonschema.SchemaValidationError:
		if v, ok := errors.AsType[*jsonschema.ValidationError](e.Err); ok {
			why = strings.Join(violations(v), "; ")
		}
	case *jsonschema.JSONPointerNotFoundError:
		why = "it refers to " + relative(dir, e.URL) + ", where nothing is"
	case *jsonschema.AnchorNotFoundError:
		why = "it refers to " + relative(dir, e.Reference) + ", which is no anchor"
	case *jsonschema.UnsupportedDraftError:
		why = "its $schema is " + e.URL + ", which is no draft that is known"
		remedy = "write https://json-schema.org/draft/2020-12/schema, or leave $schema away"
	}
	return fault.New(fault.CodeContractInvalid, "%s, the schema of %s, is not a JSON Schema: %s", relative(dir, fileURL(file)), topic, why).
		Fix("%s", remedy).Because(err)
}

// loadProblem tells users why a file was not read.
func loadProblem(err error) string {
	for _, known := range []error{errNoFile, errOutside, errLarge, errNotJSON} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "there is no such file"
	}
	return "the system refuses it"
}

// relative is the name of what a URL names, for users: relative to the application's folder where it lies there.
func relative(dir, address string) string {
	if name, ok := strings.CutPrefix(address, fileURL(dir)+"/"); ok {
		return name
	}
	return address
}

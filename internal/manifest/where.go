package manifest

import "path/filepath"

// FileOf is the file that declares a service, as a person in the application's folder would name it.
func (a *App) FileOf(s *Service) string {
	if s.At.File == "" {
		return "services/" + s.Name + "/service.yaml"
	}
	if rel, err := filepath.Rel(a.Dir, s.At.File); err == nil && filepath.IsAbs(s.At.File) {
		return rel
	}
	return s.At.File
}

// ValidTopic tells whether a name may be that of a topic.
func ValidTopic(name string) bool { return len(name) <= maxTopic && topicForm.MatchString(name) }

const maxTopic = 128 // bytes

package manifest

import "go.yaml.in/yaml/v3"

// merge lays a mapping over another: mappings are merged key by key, everything else is replaced. Neither
// argument is changed.
func (r *reader) merge(base, over *yaml.Node) *yaml.Node {
	if base.Kind != yaml.MappingNode || over.Kind != yaml.MappingNode {
		return over
	}
	out := *base
	out.Content = append([]*yaml.Node(nil), base.Content...)
	r.origin[&out] = r.origin[base]
	for i := 0; i+1 < len(over.Content); i += 2 {
		key, val := over.Content[i], over.Content[i+1]
		found := false
		for j := 0; j+1 < len(out.Content); j += 2 {
			if out.Content[j].Value == key.Value {
				out.Content[j], out.Content[j+1] = key, r.merge(out.Content[j+1], val)
				found = true
				break
			}
		}
		if !found {
			out.Content = append(out.Content, key, val)
		}
	}
	return &out
}

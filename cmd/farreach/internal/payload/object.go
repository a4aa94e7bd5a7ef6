package payload

import (
	"encoding/json"
	"fmt"
)

// object is a JSON object that keeps the order in which its members were
// set, which encoding/json does not.
type object struct {
	keys   []string
	values []member
}

// member is a value: finished JSON, or an object still being filled.
type member struct {
	json []byte
	sub  *object
}

// set puts v at path. Nothing may be set twice: one of both would be lost.
func (o *object) set(path []string, v []byte) error {
	name := path[0]
	if name == "" {
		return fmt.Errorf("empty name between dots")
	}
	m := o.find(name)
	switch {
	case len(path) == 1 && m == nil:
		o.add(name, member{json: v})
		return nil
	case len(path) == 1 || m != nil && m.sub == nil:
		return fmt.Errorf("%s is set twice", name)
	case m == nil:
		m = o.add(name, member{sub: new(object)})
	}
	return m.sub.set(path[1:], v)
}

func (o *object) find(name string) *member {
	for i, key := range o.keys {
		if key == name {
			return &o.values[i]
		}
	}
	return nil
}

func (o *object) add(name string, m member) *member {
	o.keys = append(o.keys, name)
	o.values = append(o.values, m)
	return &o.values[len(o.values)-1]
}

func (o *object) append(b []byte) []byte {
	b = append(b, '{')
	for i, key := range o.keys {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(key)
		if err != nil {
			name = []byte(`""`) // a string always marshals
		}
		b = append(append(b, name...), ':')
		if sub := o.values[i].sub; sub != nil {
			b = sub.append(b)
		} else {
			b = append(b, o.values[i].json...)
		}
	}
	return append(b, '}')
}

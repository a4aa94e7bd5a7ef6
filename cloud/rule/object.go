package rule

import (
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/farreach/farreach/oic"
)

// object is an object of a representation, as an expression meets it: of
// event.power the member power is decoded, and nothing else. Whatever asks for
// more of it, such as size(event) and event == {}, has it decoded as a whole.
//
// It is a map of CEL: a traits.Mapper.
type object struct {
	item oic.Item
	all  traits.Mapper // nil: not needed yet
}

// native is an item as expressions take it.
func native(i oic.Item) any {
	if i.IsObject() {
		return &object{item: i}
	}
	return i.Value()
}

// FindStringKey is what CEL asks of a map for a name that stands in the
// expression.
func (o *object) FindStringKey(name string) (any, bool) {
	m, ok := o.item.Member(name)
	if !ok {
		return nil, false
	}
	return native(m), true
}

// whole is o, decoded.
func (o *object) whole() traits.Mapper {
	if o.all == nil {
		members, _ := o.item.Value().(map[string]any)
		o.all = types.NewStringInterfaceMap(types.DefaultTypeAdapter, members)
	}
	return o.all
}

// Find implements traits.Mapper.
func (o *object) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return o.whole().Find(key)
	}
	v, ok := o.FindStringKey(string(name))
	if !ok {
		return nil, false
	}
	return types.DefaultTypeAdapter.NativeToValue(v), true
}

// What follows implements the rest of traits.Mapper.

func (o *object) ConvertToNative(to reflect.Type) (any, error) { return o.whole().ConvertToNative(to) }
func (o *object) ConvertToType(to ref.Type) ref.Val            { return o.whole().ConvertToType(to) }
func (o *object) Equal(other ref.Val) ref.Val                  { return o.whole().Equal(other) }
func (o *object) Type() ref.Type                               { return types.MapType }
func (o *object) Value() any                                   { return o.whole().Value() }
func (o *object) Contains(key ref.Val) ref.Val                 { return o.whole().Contains(key) }
func (o *object) Get(key ref.Val) ref.Val                      { return o.whole().Get(key) }
func (o *object) Iterator() traits.Iterator                    { return o.whole().Iterator() }
func (o *object) Size() ref.Val                                { return o.whole().Size() }

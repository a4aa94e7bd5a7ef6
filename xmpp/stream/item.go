package stream

// The attributes by which a stanza is routed.
const (
	routeTo = iota
	routeFrom
	routeID
	routeType
	routeLang
	routes
)

// firstLevel checks a first-level element and notes its attributes.
func (w *work) firstLevel(b []byte) error {
	if w.tag.colon > 0 {
		if ns := w.nsOf(b, w.first.ns); string(ns) == NSClient || string(ns) == nsServer {
			return badPrefix("prefix for the content namespace") // RFC 6120, section 4.8.5
		}
	}
	if string(w.first.name.of(b)) == "stream" && string(w.nsOf(b, w.first.ns)) == NS {
		return badFormat("header inside a stream")
	}
	for i := range w.tag.attrs {
		a := &w.tag.attrs[i]
		switch string(a.name(b)) {
		case "to":
			w.routing[routeTo] = *a
		case "from":
			w.routing[routeFrom] = *a
		case "id":
			w.routing[routeID] = *a
		case "type":
			w.routing[routeType] = *a
		case "xml:lang":
			w.routing[routeLang] = *a
		}
	}
	return nil
}

// item fills in it from what is known of the item in b.
func (w *work) item(b []byte, it *Item) {
	it.Kind, it.Raw = w.kind, b
	if w.kind == Closing {
		return
	}
	it.Name, it.NS = w.first.name.of(b), w.nsOf(b, w.first.ns)
	if w.kind == Opening {
		return
	}
	it.nameEnd = w.first.name.off + w.first.name.n
	it.declares = w.firstNS.off >= 0
	it.inherits = w.first.ns.off == nsOfStream
	it.To, it.to = w.routed(b, routeTo)
	it.From, it.from = w.routed(b, routeFrom)
	it.ID, _ = w.routed(b, routeID)
	it.Type, _ = w.routed(b, routeType)
	it.Lang, _ = w.routed(b, routeLang)
	if w.child.name.n > 0 {
		it.Child.Name, it.Child.NS = w.child.name.of(b), w.nsOf(b, w.child.ns)
	}
}

// routed returns the value of an attribute and where it stands.
func (w *work) routed(b []byte, which int) ([]byte, extent) {
	a := &w.routing[which]
	if a.end == 0 {
		return nil, extent{}
	}
	return b[a.value:a.end], extent{a.start, a.end + 1}
}

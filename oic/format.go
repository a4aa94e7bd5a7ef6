package oic

import "fmt"

// ContentFormat says how a body is written: CoAP's registry number, but for
// text/plain, whose number 0 stands for "none named" here, so that the zero
// Request and Response are right.
type ContentFormat uint32

// The formats that OIC devices use.
const (
	NoFormat ContentFormat = 0
	JSON     ContentFormat = 50      // application/json
	CBOR     ContentFormat = 60      // application/cbor: OIC 1.x
	OCF      ContentFormat = 10000   // application/vnd.ocf+cbor
	Text     ContentFormat = 1 << 16 // text/plain;charset=utf-8; 0 on the wire
)

func (f ContentFormat) String() string {
	switch f {
	case NoFormat:
		return "none"
	case JSON:
		return "application/json"
	case CBOR:
		return "application/cbor"
	case OCF:
		return "application/vnd.ocf+cbor"
	case Text:
		return "text/plain"
	}
	return fmt.Sprintf("content-format %d", uint32(f))
}

// IsCBOR reports whether bodies in f are CBOR.
func (f ContentFormat) IsCBOR() bool { return f == CBOR || f == OCF }

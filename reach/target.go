package reach

import "errors"

// Target is what a person wants to reach: a resource of a device.
type Target struct {
	Scheme string // "coap+tcp" or "coaps+tcp": straight to Host; empty: any way to Device
	Host   string // host:port
	Device string // name, di or the beginning of a di
	Href   string // path and query on the device, with a leading slash
}

// ParseTarget reads a target as people write it:
//
//	lamp/a/light                  a device by name
//	0685b960/a/light              by the beginning of its di
//	ocf://<di>/a/light            by its di; oic:// is the same
//	coap+tcp://host[:port]/path   a CoAP server, straight; coaps+tcp:// over TLS
//
// Without a path it is /oic/res. The error is a *Error of kind Usage.
func ParseTarget(s string) (Target, error) { return Target{}, errors.ErrUnsupported }

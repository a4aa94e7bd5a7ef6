package coap_test

import (
	"fmt"

	"github.com/farreach/farreach/coap"
)

// The codec used alone, in a server that somebody else brings: feed is called
// with what the connection's reads gave, and returns what is to be written.
func Example_codec() {
	var (
		buf     []byte       // bytes that are no whole message yet
		in, out coap.Message // used again for each
	)
	feed := func(read string) (answers []byte) {
		buf = append(buf, read...)
		for {
			n, err := in.Parse(coap.TCP, buf, 16384)
			if err == coap.ErrShort {
				return answers // wait for the next read
			}
			if err != nil {
				fmt.Println(err) // and close the connection
				return answers
			}
			out.Reset()
			out.Token = in.Token
			switch path := in.Options.Path(); {
			case in.Code == coap.Ping:
				out.Code = coap.Pong
			case in.Code == coap.GET && path == "/oic/res":
				fmt.Println(in.Code, path, in.Options.Query())
				out.Code = coap.Content
				out.AddUint(coap.ContentFormat, 60)
				out.Payload = []byte("\x80") // an empty array
			default:
				out.Code = coap.NotFound
			}
			if answers, err = out.Append(coap.TCP, answers); err != nil {
				panic(err) // options out of order: our mistake
			}
			buf = buf[n:]
		}
	}

	// A request that comes in two pieces, the second with a Ping behind it.
	fmt.Printf("%x\n", feed("\xd1\x0a\x01\x07\xb3oic\x03re"))
	fmt.Printf("%x\n", feed("s\x4cif=oic.if.ll\x21\x3c\x01\xe2\x08"))
	fmt.Printf("%x\n", feed("\x09"))
	// Output:
	//
	// GET /oic/res if=oic.if.ll
	// 414507c13cff8001e308
	// coap: byte 0: token length 9, at most 8 is allowed (RFC 7252, section 3)
}

func ExampleParseURI() {
	uri, err := coap.ParseURI("coaps+tcp://[2001:db8::7]/a/light?if=oic.if.rw")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(uri.Transport, uri.Secure, uri.Addr())

	req := coap.Message{Code: coap.GET}
	req.SetPath(uri.Path)
	req.SetQuery(uri.Query)
	wire, err := req.Append(uri.Transport, nil)
	fmt.Printf("%x %v\n", wire, err)
	// Output:
	// tcp true [2001:db8::7]:5684
	// d00801b161056c696768744c69663d6f69632e69662e7277 <nil>
}

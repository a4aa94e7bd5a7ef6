// Command lamp is a device of your own in sixty lines: a resource, a host for
// it, and a cloud that it joins.
//
//	farreach up                          # in another terminal; it prints a code
//	go run ./examples/lamp -ca ~/.local/share/farreach/tls/ca.pem -code XXXX-XXXX-XXXX
//	farreach post desk/my/lamp value=true
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
)

// lamp is what this device offers. The host calls it from one goroutine at a
// time.
type lamp struct {
	Value bool `json:"value"`
}

func (l *lamp) Link() oic.Link {
	return oic.Link{Href: "/my/lamp", Types: []string{"oic.r.switch.binary"},
		Interfaces: []string{oic.IfActuator, oic.IfBaseline}, Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

func (l *lamp) Retrieve(context.Context, string) (any, error) { return *l, nil }

func (l *lamp) Update(_ context.Context, _ string, rep []byte) (any, error) {
	wanted := *l
	if err := oic.Decode(oic.OCF, rep, &wanted); err != nil {
		return nil, err // 4.00, and the sender reads why
	}
	*l = wanted
	fmt.Println("the lamp is on:", l.Value) // here you would move a pin
	return nil, nil
}

func main() {
	server := flag.String("cloud", "coaps+tcp://127.0.0.1:5684", "the cloud to join")
	ca := flag.String("ca", "", "file with the certificate of the cloud's authority")
	code := flag.String("code", "", "pairing code, needed the first time")
	file := flag.String("state", "lamp.state", "file that keeps the registration")
	flag.Parse()
	state := cloudlink.FileState(*file)
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(*ca); err != nil || !roots.AppendCertsFromPEM(pem) {
		log.Fatalf("lamp: -ca %q: %v", *ca, err)
	}
	kept, err := state.Load()
	if err != nil {
		log.Fatal(err)
	}
	host := device.NewHost(device.Config{ID: kept.Device, Name: "desk", Type: "oic.d.light"})
	host.Add(&lamp{})
	client, err := cloudlink.New(cloudlink.Config{Servers: []string{*server}, TLS: &tls.Config{RootCAs: roots},
		Handler: host, Device: host.ID(), Name: host.Name, Links: host.Links,
		Code: cloudlink.Secret(*code), State: state})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := client.Run(ctx); err != context.Canceled {
		log.Fatal(err)
	}
}

// Crowd gives the tests of the pages what simulated devices take too long for:
//
//	crowd live ADDR-FILE N RATE ── joins ──▶ server ── events ──▶ page      until it is killed
//	crowd day STORE ACCOUNT ──▶ 86,400 events of a device that reports each second, in the past
//
// The first reads where the server is from the file that farreach up writes with
// --addr-file, and prints a line once all N devices report, together RATE times a
// second. The second prints the id of the device; no server may use the store.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 4 && args[0] == "live":
		err = live(ctx, args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "day":
		err = day(ctx, args[1], args[2])
	default:
		err = errors.New("usage: crowd live ADDR-FILE N RATE | crowd day STORE ACCOUNT")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

var link = oic.Link{
	Href: "/t", Types: []string{"oic.r.temperature"}, Interfaces: []string{oic.IfSensor},
	Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable},
}

// sensor is a device with one resource.
type sensor struct {
	link *cloudlink.Link
	tell chan func(*oic.Response) // gets what reports to who watches
}

func (s *sensor) Handle(context.Context, *oic.Request) (*oic.Response, error) {
	return temperature(20), nil
}

func (s *sensor) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	each(temperature(20))
	s.tell <- each // has room: the cloud watches once
	<-ctx.Done()
	return ctx.Err()
}

func temperature(celsius float64) *oic.Response {
	return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: encode(map[string]any{"temperature": celsius, "units": "C"})}
}

func encode(rep map[string]any) []byte {
	body, err := oic.Encode(oic.OCF, rep)
	if err != nil {
		panic(err) // it is one of ours
	}
	return body
}

// server is where the server is, as it wrote.
type server struct {
	HTTP  string `json:"http"`
	CoAP  string `json:"coap_tcp"`
	Token string `json:"token_file"`
}

func live(ctx context.Context, addrs, devices, perSecond string) error {
	n, err := strconv.Atoi(devices)
	rate, err2 := strconv.Atoi(perSecond)
	text, err3 := os.ReadFile(addrs)
	var s server
	if err := errors.Join(err, err2, err3, json.Unmarshal(text, &s)); err != nil {
		return err
	}
	all := make([]*sensor, n)
	joining, within := errgroup.WithContext(ctx)
	joining.SetLimit(16)
	for i := range all {
		joining.Go(func() (err error) {
			all[i], err = join(within, s, fmt.Sprintf("sensor %03d", i))
			return err
		})
	}
	if err := joining.Wait(); err != nil {
		return err
	}
	tell := make([]func(*oic.Response), n)
	for i, s := range all {
		select {
		case tell[i] = <-s.tell:
		case <-ctx.Done():
			return nil
		}
	}
	fmt.Println("ready")
	const each = 10 * time.Millisecond
	tick := time.NewTicker(each)
	defer tick.Stop()
	start, told := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			for due := int(now.Sub(start).Seconds() * float64(rate)); told < due; told++ {
				tell[told%n](temperature(20 + float64(told%97)/10))
			}
		}
	}
}

// join makes a device of the account.
func join(ctx context.Context, to server, name string) (*sensor, error) {
	code, err := pair(ctx, to)
	if err != nil {
		return nil, err
	}
	s := &sensor{tell: make(chan func(*oic.Response), 1)}
	s.link, err = cloudlink.Connect(ctx, cloudlink.ServerInfo{URI: "coap+tcp://" + to.CoAP, Handler: s, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		_, _, err = s.link.Register(ctx, cloudlink.Registration{Device: uuid.NewString(), Name: name, Links: []oic.Link{link}, Code: code})
	}
	return s, err
}

// pair makes a pairing code.
func pair(ctx context.Context, to server) (secret.String, error) {
	token, err := os.ReadFile(to.Token)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.HTTP+"/api/v1/pairing-codes", bytes.NewBufferString("{}"))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var code struct{ Code string }
	if err := json.NewDecoder(resp.Body).Decode(&code); err != nil || code.Code == "" {
		return "", fmt.Errorf("no pairing code: %s, %w", resp.Status, err)
	}
	return secret.String(code.Code), nil
}

// day stores what a device has reported each second of the last day.
func day(ctx context.Context, dir, account string) error {
	s, err := store.Open(ctx, store.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer s.Close()
	d, err := directory.Open(ctx, directory.Config{Store: s})
	if err != nil {
		return err
	}
	defer d.Close()
	e, err := event.Open(ctx, s, event.Config{})
	if err != nil {
		return err
	}
	defer e.Close()
	di := uuid.NewString()
	if err := d.Claim(ctx, account, di); err != nil {
		return err
	}
	if _, err := d.Publish(ctx, di, "weather", "oic.d.sensor", 0, []oic.Link{link}); err != nil {
		return err
	}
	const seconds, part = 86_400, 400
	begin := time.Now().Unix() - seconds
	for i := 0; i < seconds; i += part {
		events := make([]event.Event, part)
		for j := range events {
			at := i + j
			celsius := 12 + 8*math.Sin(2*math.Pi*float64(at)/seconds) + math.Sin(float64(at)/300)
			body := encode(map[string]any{"temperature": math.Round(celsius*10) / 10, "units": "C", "timestamp": begin + int64(at)})
			events[j] = event.Event{Account: account, Device: di, Href: link.Href, Format: oic.OCF, Body: body}
		}
		if err := errors.Join(e.AppendAll(ctx, events)...); err != nil {
			return err
		}
	}
	fmt.Println(di)
	return nil
}

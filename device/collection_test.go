package device_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
)

// newRoom is a host with two lights and a sensor in one collection, which
// makes lights too.
func newRoom() *device.Host {
	h := device.NewHost(device.Config{ID: di})
	h.Add(newLight("/l/1"))
	h.Add(newLight("/l/2"))
	h.Add(sensor{})
	made := 2
	h.AddCollection(device.Collection{Href: "/room", Types: []string{"x.room"}, Members: []string{"/l/1", "/a/sensor", "/later", "/l/2"},
		Allowed: []string{"oic.r.switch.binary"},
		Make: func(_ context.Context, c device.Creation) (device.Resource, error) {
			made++
			l := newLight(fmt.Sprintf("/l/%d", made))
			_, err := l.Update(context.Background(), "", c.Rep)
			return l, err
		}})
	return h
}

const (
	roomIfs  = `"if":["oic.if.ll","oic.if.b","oic.if.baseline","oic.if.create"]`
	lightIfs = `"rt":["oic.r.switch.binary"],"if":["oic.if.a","oic.if.s","oic.if.baseline"]`
)

func light2(n int, ins int) string {
	return fmt.Sprintf(`{"href":"/l/%d",%s,"ins":%d,"p":{"bm":3}}`, n, lightIfs, ins)
}

func lightItem(n int, on bool) string {
	return fmt.Sprintf(`{"href":"/l/%d","rep":{"value":%v}}`, n, on)
}

func TestCollection(t *testing.T) {
	const sensorLink = `{"href":"/a/sensor","rt":["oic.r.sensor"],"if":["oic.if.s"],"ins":2,"p":{"bm":1}}`
	all := "[" + light2(1, 1) + "," + sensorLink + "," + light2(2, 4) + "]"
	asking(t, newRoom(),
		"retrieve /room", "2.05 ocf "+all,
		"retrieve /room?if=oic.if.ll&rt=oic.r.sensor", "2.05 ocf ["+sensorLink+"]",
		"retrieve /room?if=oic.if.baseline", `2.05 ocf {"rt":["x.room","oic.wk.col"],`+roomIfs+`,"rts":["oic.r.switch.binary"],"links":`+all+"}",
		"retrieve /room?if=oic.if.b", "2.05 ocf ["+lightItem(1, false)+`,{"href":"/a/sensor","rep":{"x":1}},`+lightItem(2, false)+"]",
		"retrieve /room?if=oic.if.b&rt=oic.r.sensor&rt=x", `2.05 ocf [{"href":"/a/sensor","rep":{"x":1}}]`,
		"retrieve /room?if=oic.if.b&rt=none", "2.05 ocf []",
		"update /room {}", "4.05 Method Not Allowed: oic.if.ll does not take update",
		"update /room?if=oic.if.baseline {}", "4.05 Method Not Allowed: /room cannot be changed",
		"delete /room?if=oic.if.b", "4.05 Method Not Allowed: /room cannot be deleted",
	)
}

func TestBatchUpdate(t *testing.T) {
	asking(t, newRoom(),
		`update /room?if=oic.if.b [{"href":"/l/2","rep":{"value":true}}]`, "2.04 ocf ["+lightItem(2, true)+"]",
		`update /room?if=oic.if.b [{"href":"ocf://`+di+`/l/1","rep":{"value":true}},{"href":"/l/2","rep":{"value":false}}]`, "2.04 ocf ["+lightItem(1, true)+","+lightItem(2, false)+"]",
		`update /room?if=oic.if.b [{"href":"/oic/con","rep":{"n":"x"}},{"href":"/nowhere","rep":{}}]`, "2.04 ocf []", // no members
		`update /room?if=oic.if.b&rt=oic.r.switch.binary [{"href":"","rep":{"value":true}}]`, "2.04 ocf ["+lightItem(1, true)+","+lightItem(2, true)+"]",
		`replace /room?if=oic.if.b [{"href":"/l/1","rep":{"value":false}}]`, "2.04 ocf ["+lightItem(1, false)+"]",
		`update /room?if=oic.if.b []`, "2.04 ocf []",
		`update /room?if=oic.if.b {"value":true}`, "4.00 Bad Request: this cannot be a map",
		`update /room?if=oic.if.b [`+strings.Repeat(`{"href":""},`, 400)+`{}]`, "4.13 Request Entity Too Large: more than 1024 updates at once",
	)
}

// One item that fails is not all: the others are done, each says how it went,
// and the worst is the status.
func TestBatchPartialFailure(t *testing.T) {
	for _, c := range []struct{ name, request, want string }{
		{"wrong value", `update /room?if=oic.if.b [{"href":"/l/1","rep":{"value":1}},{"href":"/l/2","rep":{"value":true}}]`,
			`4.00 [{"href":"/l/1","rep":{},"x.farreach.code":400},` + lightItem(2, true) + "]"},
		{"the worst of two", `update /room?if=oic.if.b [{"href":"/l/1"},{"href":"/a/sensor","rep":{"x":1}},{"href":"/l/2","rep":{"value":true}}]`,
			`4.05 [{"href":"/l/1","rep":{},"x.farreach.code":400},{"href":"/a/sensor","rep":{},"x.farreach.code":405},` + lightItem(2, true) + "]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newRoom()
			_, err := ask(t, h, c.request, 0, 0)
			if got := refusal(t, err); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
			asking(t, h, "retrieve /l/2", on)
		})
	}
	h := device.NewHost(device.Config{ID: di})
	h.Add(sensor{fail: errors.New("i2c bus stuck")})
	h.Add(newLight("/l/1"))
	h.AddCollection(device.Collection{Href: "/room", Members: []string{"/a/sensor", "/l/1"}})
	_, err := ask(t, h, "retrieve /room?if=oic.if.b", 0, 0)
	if got, want := refusal(t, err), `5.00 [{"href":"/a/sensor","rep":{},"x.farreach.code":500},`+lightItem(1, false)+"]"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func refusal(t *testing.T, err error) string {
	t.Helper()
	e, ok := errors.AsType[*oic.StatusError](err)
	if !ok {
		return fmt.Sprint(err)
	}
	body, err := oic.ToJSON(e.Format, e.Body)
	if err != nil {
		t.Fatal(err)
	}
	return e.Status.String()[:4] + " " + string(body)
}

// Collections in collections: down to the fourth, each resource once.
func TestBatchNested(t *testing.T) {
	h := device.NewHost(device.Config{ID: di})
	for i := 1; i <= 6; i++ {
		h.Add(newLight(fmt.Sprintf("/l/%d", i)))
		h.AddCollection(device.Collection{Href: fmt.Sprintf("/c/%d", i),
			Members: []string{fmt.Sprintf("/l/%d", i), fmt.Sprintf("/c/%d", i+1), "/c/1", "/l/1"}})
	}
	asking(t, h,
		"retrieve /c/1?if=oic.if.b", "2.05 ocf ["+lightItem(1, false)+","+lightItem(2, false)+","+lightItem(3, false)+","+lightItem(4, false)+"]",
		`update /c/5?if=oic.if.b [{"href":"","rep":{"value":true}}]`,
		"2.04 ocf ["+lightItem(5, true)+","+lightItem(6, true)+","+lightItem(1, true)+","+lightItem(2, true)+"]",
	)
}

func TestCollectionCreate(t *testing.T) {
	h := newRoom()
	asking(t, h,
		`create /room?if=oic.if.create {"rt":["oic.r.switch.binary"],"if":["oic.if.a"],"p":{"bm":3},"rep":{"value":true}}`,
		`2.01 ocf {"href":"/l/3",`+lightIfs+`,"p":{"bm":3},"ins":5,"rep":{"value":true}}/l/3`,
		"retrieve /room?if=oic.if.b&rt=oic.r.switch.binary", "2.05 ocf ["+lightItem(1, false)+","+lightItem(2, false)+","+lightItem(3, true)+"]",
		`create /room {"rt":["oic.r.sensor"],"rep":{}}`, "4.00 Bad Request: /room takes no oic.r.sensor",
		`create /room {"rt":["oic.r.switch.binary"]}`, "4.00 Bad Request: what is to be made needs rt and rep",
		`create /room {"rt":["oic.r.switch.binary"],"rep":{"value":7}}`, "4.00 Bad Request: value cannot be an integer",
		"delete /l/3", "2.02",
		"retrieve /room?if=oic.if.b&rt=oic.r.switch.binary", "2.05 ocf ["+lightItem(1, false)+","+lightItem(2, false)+"]",
	)
	for range 252 {
		if _, err := ask(t, h, `create /room {"rt":["oic.r.switch.binary"],"rep":{}}`, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	asking(t, h, `create /room {"rt":["oic.r.switch.binary"],"rep":{}}`, "4.03 Forbidden: /room has 256 members, the most it can")
	h.Add(newLight("/later")) // a member that was waited for
	if links, err := ask(t, h, "retrieve /room", 0, 0); !strings.Contains(links, `"/later"`) {
		t.Errorf("links are %.300s, %v", links, err)
	}
	asking(t, device.NewHost(device.Config{}), "create /oic/res {}", "4.05 Method Not Allowed: /oic/res makes no resources")
}

// A notification of a batch has what has changed, and nothing else (oic-core,
// section 7).
func TestObserveBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRoom()
		ctx, cancel := context.WithCancel(t.Context())
		room := observe(t, ctx, h, "/room?if=oic.if.b&rt=oic.r.switch.binary", nil)
		links := observe(t, ctx, h, "/room?rt=oic.r.switch.binary", nil)
		hold := make(chan struct{})
		slow := observe(t, ctx, h, "/room?if=oic.if.b&rt=oic.r.switch.binary", hold)
		both := "[" + lightItem(1, false) + "," + lightItem(2, false) + "]"
		step := func(line string) {
			if _, err := ask(t, h, line, 0, 0); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		step(`update /l/2 {"value":true}`)
		step(`update /l/2 {"value":true}`) // no change
		step(`update /oic/con {"n":"x"}`)  // no member
		step(`update /room?if=oic.if.b&rt=oic.r.switch.binary [{"href":"","rep":{"value":true}}]`)
		step(`delete /l/2`)
		h.Add(newLight("/l/2"))
		room.check(t, "2.05 ocf "+both, "2.05 ocf ["+lightItem(2, true)+"]", "2.05 ocf ["+lightItem(1, true)+"]", "2.05 ocf ["+lightItem(2, false)+"]")
		links.check(t, "2.05 ocf ["+light2(1, 1)+","+light2(2, 4)+"]", "2.05 ocf ["+light2(1, 1)+"]", "2.05 ocf ["+light2(1, 1)+","+light2(2, 4)+"]")
		hold <- struct{}{}
		slow.check(t, "2.05 ocf "+both, "2.05 ocf ["+lightItem(1, true)+"]") // light 2 is as it was
		cancel()
		close(hold)
		synctest.Wait()
	})
}

// Where notifications can be lost, each has everything.
func TestObserveBatchWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRoom()
		ctx, cancel := context.WithCancel(t.Context())
		var seen []string
		go h.Observe(ctx, &oic.Request{Href: "/room?if=oic.if.b&rt=oic.r.switch.binary", Whole: true}, func(resp *oic.Response) {
			seen = append(seen, text(t, resp))
		})
		synctest.Wait()
		asking(t, h, `update /l/2 {"value":true}`, "2.04", `update /l/2 {"value":true}`, "2.04")
		synctest.Wait()
		want := []string{"2.05 ocf [" + lightItem(1, false) + "," + lightItem(2, false) + "]", "2.05 ocf [" + lightItem(1, false) + "," + lightItem(2, true) + "]"}
		if fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("saw %q\nwant %q", seen, want)
		}
		cancel()
		synctest.Wait()
	})
}

// A batch that is read, changed and observed at once does not stand still.
func TestBatchAtOnce(t *testing.T) {
	h := newRoom()
	done := make(chan error)
	for i := range 4 {
		go func() {
			var err error
			for n := range 100 {
				body, _ := oic.FromJSON(oic.OCF, fmt.Appendf(nil, `[{"href":"","rep":{"value":%v}}]`, n%2 == i%2))
				_, err = h.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/room?if=oic.if.b&rt=oic.r.switch.binary", Body: body})
				if err != nil {
					break
				}
				_, err = h.Handle(t.Context(), &oic.Request{Href: "/room?if=oic.if.b"})
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

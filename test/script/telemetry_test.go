package script_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// door is a port that leads to another one, or, while it is shut, ends every connection at once. A backend behind it can go, and come back on another
// port, and nobody else can take its place meanwhile.
type door struct {
	ln    net.Listener
	mu    sync.Mutex
	to    string              // guarded by mu; "" while it is shut
	conns map[net.Conn]string // guarded by mu
	done  sync.WaitGroup
}

// openDoor VARIABLE [ADDR]: opens a port that leads to an address, or to nothing, and sets a variable to it.
func openDoor(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && (len(args) == 1 || len(args) == 2), "door VARIABLE [ADDR]")
	s := stateOf(ts)
	d := s.doors[args[0]]
	if d == nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		d = &door{ln: ln, conns: map[net.Conn]string{}}
		s.doors[args[0]] = d
		d.done.Go(d.serve)
		ts.Setenv(args[0], ln.Addr().String())
	}
	to := ""
	if len(args) == 2 {
		to = args[1]
	}
	d.lead(to)
}

// lead changes where a door leads to. Connections to where it led before end.
func (d *door) lead(to string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = to
	for conn, at := range d.conns {
		if at != to {
			conn.Close()
		}
	}
}

func (d *door) serve() {
	for {
		conn, err := d.ln.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		to := d.to
		if to != "" {
			d.conns[conn] = to
		}
		d.mu.Unlock()
		d.done.Go(func() { d.pass(conn, to) })
	}
}

// pass carries a connection to where it leads, until either side ends it.
func (d *door) pass(conn net.Conn, to string) {
	defer conn.Close()
	if to == "" {
		return
	}
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.conns, conn)
	}()
	behind, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer behind.Close()
	d.done.Go(func() {
		_, _ = io.Copy(behind, conn) // ends with either
		behind.Close()
	})
	_, _ = io.Copy(conn, behind) // likewise
}

func (d *door) close() {
	d.ln.Close()
	d.lead("")
	d.done.Wait()
}

// sendOTLP [-n COUNT] [-service NAME] [-name NAME] [-error] [-took DURATION] [-pad BYTES] [-first N] traces|logs URL: sends spans or log records, up
// to 500 in a request, each with the attribute n, which counts from -first on. Each span is a trace of its own. With -pad each has so many bytes that cannot be
// compressed.
func sendOTLP(ts *testscript.TestScript, neg bool, args []string) {
	flags := flag.NewFlagSet("otlp", flag.ContinueOnError)
	n := flags.Int("n", 1, "how many")
	first := flags.Int("first", 0, "number of the first")
	service := flags.String("service", "web", "service")
	name := flags.String("name", "op", "name of the spans, or text of the records")
	failed := flags.Bool("error", false, "they are errors")
	took := flags.Duration("took", time.Millisecond, "duration of the spans")
	pad := flags.Int("pad", 0, "bytes of an attribute")
	ts.Check(flags.Parse(args))
	need(ts, !neg && flags.NArg() == 2, "otlp [flags] traces|logs URL")
	r := &telemetry.Resource{Service: *service}
	each := min(500, (4<<20)/max(*pad, 1)+1)
	for at := 0; at < *n; at += each {
		var spans []telemetry.Span
		var records []telemetry.Record
		for i := *first + at; i < *first+min(at+each, *n); i++ {
			attrs := []telemetry.Attr{{Key: "n", Value: telemetry.Int(int64(i))}}
			if *pad > 0 {
				attrs = append(attrs, telemetry.Attr{Key: "pad", Value: telemetry.String(noise(*pad))})
			}
			span := telemetry.Span{Resource: r, Name: *name, Kind: telemetry.KindServer, Start: time.Now().UnixNano(), Duration: int64(*took), Attrs: attrs}
			span.TraceID[0], span.SpanID[0] = 1, 1
			binary.BigEndian.PutUint64(span.TraceID[8:], uint64(i))
			binary.BigEndian.PutUint32(span.SpanID[4:], uint32(i))
			record := telemetry.Record{Resource: r, Time: time.Now().UnixNano(), Severity: telemetry.SeverityInfo, Body: telemetry.String(*name), Attrs: attrs}
			if *failed {
				span.Status, record.Severity = telemetry.StatusError, telemetry.SeverityError
			}
			spans, records = append(spans, span), append(records, record)
		}
		request := otlp.AppendLogs(nil, records)
		if flags.Arg(0) == "traces" {
			request = otlp.AppendTraces(nil, spans)
		}
		ts.Check(postOTLP(flags.Arg(1)+"/v1/"+flags.Arg(0), request))
	}
}

// noise is text that can hardly be compressed.
func noise(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ab"
	b := make([]byte, 0, n+10)
	for len(b) < n {
		bits := rand.Uint64()
		for range 10 {
			b = append(b, letters[bits%64])
			bits /= 64
		}
	}
	return string(b[:n])
}

// postOTLP sends an export, again where Atoll says that it cannot keep up.
func postOTLP(url string, request []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(request))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		resp, err := (&http.Client{}).Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusOK:
			return nil
		case http.StatusServiceUnavailable:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
		default:
			return fmt.Errorf("the export was answered %s", resp.Status)
		}
	}
}

// sendMany COUNT STATUS URL: sends a request so often, each of which must have that status.
func sendMany(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 3, "many COUNT STATUS URL")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range n {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[2], http.NoBody)
		ts.Check(err)
		resp, err := client.Do(req)
		ts.Check(err)
		_, _ = io.Copy(io.Discard, resp.Body) // so that the connection serves the next one
		resp.Body.Close()
		cancel()
		if strconv.Itoa(resp.StatusCode) != args[1] {
			ts.Fatalf("status %d, not %s", resp.StatusCode, args[1])
		}
	}
}

// post is a mail server that takes every mail, and writes it into a file.
type post struct {
	ln   net.Listener
	file string
	done sync.WaitGroup
}

// mailServer VARIABLE FILE: takes mail by SMTP until the script ends, appends it to a file, and sets a variable to its address.
func mailServer(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "smtp VARIABLE FILE")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	p := &post{ln: ln, file: ts.MkAbs(args[1])}
	stateOf(ts).posts = append(stateOf(ts).posts, p)
	ts.Setenv(args[0], ln.Addr().String())
	p.done.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.done.Go(func() { p.talk(conn) })
		}
	})
}

func (p *post) close() {
	p.ln.Close()
	p.done.Wait()
}

// talk takes the mail of one connection (RFC 5321).
func (p *post) talk(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience)) // so that the script can end
	in := bufio.NewReader(conn)
	say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	say("220 here")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
		case "DATA":
			say("354 go")
			var mail strings.Builder
			for line = ""; line != ".\r\n"; {
				mail.WriteString(line)
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			file, err := os.OpenFile(p.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				say("451 no room")
				return
			}
			_, _ = file.WriteString(mail.String() + "\n")
			file.Close()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"
)

const startLimit = 60 * time.Second

// startNATS builds and starts a server of NATS, of the version that Atoll embeds.
func startNATS(ctx context.Context, dir, name string, always bool) (*subject, error) {
	program := filepath.Join(dir, "nats-server")
	if _, err := os.Stat(program); err != nil {
		if err := build(ctx, program, "github.com/nats-io/nats-server/v2"); err != nil {
			return nil, err
		}
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	sync := ""
	if always {
		sync = ", sync_interval: always"
	}
	conf := filepath.Join(dir, fmt.Sprintf("nats-%d.conf", port))
	text := fmt.Sprintf("listen: 127.0.0.1:%d\njetstream: {store_dir: %q%s}\n", port, filepath.Join(dir, strconv.Itoa(port)), sync)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	cmd := exec.Command(program, "-c", conf) //nolint:noctx // ended by stop
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	url := fmt.Sprintf("nats://127.0.0.1:%d", port)
	s := &subject{
		name: name, pid: func() int { return cmd.Process.Pid }, stop: func() error { return end(cmd) },
		open: func(_ context.Context, n int) ([]func() error, func(), error) { return openNATS(url, "load", n) },
	}
	return s, errors.Join(makeStream(ctx, url))
}

// makeStream waits for the server and makes the stream that is published to.
func makeStream(ctx context.Context, url string) error {
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.ReconnectWait(50*time.Millisecond), nats.MaxReconnects(200))
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for !nc.IsConnected() {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("connect to NATS: %w", err)
		}
	}
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "load", Subjects: []string{"load"}})
	}
	if err != nil {
		return fmt.Errorf("make stream: %w", err)
	}
	return nil
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// end ends a process that was started here.
func end(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("end %s: %w", cmd.Path, err)
	}
	_ = cmd.Wait() // it says how it was ended
	return nil
}

// startRabbit starts a node of RabbitMQ in the folder.
func startRabbit(ctx context.Context, dir string) ([]*subject, error) {
	program, err := exec.LookPath("/usr/lib/rabbitmq/bin/rabbitmq-server")
	if err != nil {
		return nil, errors.New("the package rabbitmq-server is not installed")
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	dist, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "rabbit")
	if err := os.MkdirAll(home, 0o750); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	cmd := exec.Command(program) //nolint:noctx // ended by stop
	node := fmt.Sprintf("bench%d@localhost", port)
	cmd.Env = append(os.Environ(),
		"RABBITMQ_NODENAME="+node, fmt.Sprintf("RABBITMQ_NODE_PORT=%d", port), "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", dist), "RABBITMQ_MNESIA_BASE="+home, "RABBITMQ_LOG_BASE="+home, "HOME="+home,
		"RABBITMQ_PID_FILE="+filepath.Join(home, "pid"), "RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(home, "plugins"),
		"RABBITMQ_SERVER_START_ARGS=-kernel inet_dist_use_interface {127,0,0,1}", "ERL_EPMD_ADDRESS=127.0.0.1",
	)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start RabbitMQ: %w", err)
	}
	url := fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", port)
	if err := awaitRabbit(ctx, url); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, said.Bytes()), endGroup(cmd))
	}
	pid := func() int { return beam(filepath.Join(home, "pid")) }
	return []*subject{
		{name: classic, pid: pid, open: openRabbit(url, "classic", nil), stop: func() error { return endGroup(cmd) }},
		{name: quorum, pid: pid, open: openRabbit(url, "quorum", amqp.Table{"x-queue-type": "quorum"})},
	}, nil
}

func endGroup(cmd *exec.Cmd) error {
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("end RabbitMQ: %w", err)
	}
	_ = cmd.Wait() // it says how it was ended
	return nil
}

// beam is the process of the node.
func beam(file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

func awaitRabbit(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		c, err := amqp.Dial(url)
		if err == nil {
			return c.Close()
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return fmt.Errorf("RabbitMQ does not answer: %w", err)
		}
	}
}

// openRabbit makes publishers with a channel each, in confirm mode: the broker confirms what is on disk. The queue is drained by
// nobody, and is emptied when the publishers are done.
func openRabbit(url, queue string, args amqp.Table) func(context.Context, int) ([]func() error, func(), error) {
	return func(ctx context.Context, n int) ([]func() error, func(), error) {
		var conns []*amqp.Connection
		end := func() {
			if len(conns) > 0 {
				if ch, err := conns[0].Channel(); err == nil {
					_, _ = ch.QueuePurge(queue, false) // the next round finds it fuller, no more
				}
			}
			for _, c := range conns {
				_ = c.Close() // nothing is in flight
			}
		}
		for range min(n, connections) {
			c, err := amqp.Dial(url)
			if err != nil {
				end()
				return nil, nil, err
			}
			conns = append(conns, c)
		}
		data := bytes.Repeat([]byte("x"), payload)
		publishers := make([]func() error, n)
		for i := range publishers {
			ch, err := conns[i%len(conns)].Channel()
			if err == nil {
				err = ch.Confirm(false)
			}
			if err == nil && i == 0 {
				_, err = ch.QueueDeclare(queue, true, false, false, false, args)
			}
			if err != nil {
				end()
				return nil, nil, err
			}
			publishers[i] = func() error {
				confirmation, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false,
					amqp.Publishing{DeliveryMode: amqp.Persistent, Body: data})
				if err != nil {
					return err
				}
				if ok, err := confirmation.WaitContext(ctx); err != nil || !ok {
					return fmt.Errorf("not confirmed: %w", err)
				}
				return nil
			}
		}
		return publishers, end, nil
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

// openDTM submits sagas of five branches over HTTP, and waits for their ends, as clients of DTM do.
func openDTM(_ context.Context, s *service) (*peer, error) {
	submit := "http://" + os.Getenv("TARGET") + "/api/dtmsvr/submit"
	unique := os.Getpid()
	return &peer{
		setup: os.Getenv("SERVER") + ": sagas of five branches, submitted with wait_result",
		run: func(ctx context.Context, order Order) error {
			type branch struct {
				Action     string `json:"action"`
				Compensate string `json:"compensate"`
			}
			payload, err := json.Marshal(order)
			if err != nil {
				return err
			}
			var branches []branch
			var payloads []string
			for range steps {
				branches = append(branches, branch{"http://" + s.addr + "/step", "http://" + s.addr + "/undo"})
				payloads = append(payloads, string(payload))
			}
			body, err := json.Marshal(map[string]any{
				"gid": fmt.Sprintf("%d-%s", unique, order.Order), "trans_type": "saga", "steps": branches, "payloads": payloads, "wait_result": true, "protocol": "http",
			})
			if err != nil {
				return err
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, submit, bytes.NewReader(body))
			if err != nil {
				return err
			}
			req.Header.Set("Content-Type", "application/json")
			res, err := s.client.Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			answer, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			if res.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte("SUCCESS")) {
				return fmt.Errorf("dtm answered %s: %s", res.Status, answer)
			}
			return nil
		},
		stop: func() {},
	}, nil
}

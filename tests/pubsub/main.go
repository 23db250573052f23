// Command pubsub runs Google's own in-memory Pub/Sub server (the package pstest of the official Go client) as a program,
// so that tests and the demo publish to a Pub/Sub that nobody here wrote.
//
//	pubsub [-listen 127.0.0.1:0] [-http 127.0.0.1:0] PROJECT/TOPIC...
//
// It creates the topics with one subscription each, prints one line of JSON, {"grpc": "host:port", "http": "host:port"},
// and serves until it is stopped. The HTTP side is for assertions:
//
//	GET    /messages?topic=TOPIC   every message published so far, as a JSON array (all topics without ?topic)
//	DELETE /messages               forgets them
//	POST   /fail?code=14&times=3   the next publish calls fail with this gRPC status
//	POST   /delay?ms=700           every publish call takes so long
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// failures is a pstest reactor that lets a number of publish calls fail with a status, and makes calls slow.
type failures struct {
	mu    sync.Mutex
	code  codes.Code
	times int
	calls int
	delay time.Duration
}

// React implements pstest.Reactor.
func (f *failures) React(any) (handled bool, ret any, err error) {
	f.mu.Lock()
	delay := f.delay
	f.mu.Unlock()
	time.Sleep(delay)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.times == 0 {
		return false, nil, nil
	}
	f.times--
	return true, &pubsubpb.PublishResponse{}, status.Error(f.code, "the test wants this call to fail")
}

// message is a published message as the HTTP side shows it.
type message struct {
	ID          string            `json:"id"`
	Topic       string            `json:"topic"`
	Data        json.RawMessage   `json:"data"`
	Attributes  map[string]string `json:"attributes"`
	OrderingKey string            `json:"ordering_key"`
	PublishTime time.Time         `json:"publish_time"`
}

// show turns what pstest keeps into what the HTTP side shows: data as JSON where it is JSON, else as text.
func show(m *pstest.Message) message {
	data := json.RawMessage(m.Data)
	if !json.Valid(m.Data) {
		data, _ = json.Marshal(string(m.Data))
	}
	return message{
		ID:          m.ID,
		Topic:       m.Topic[strings.LastIndex(m.Topic, "/")+1:],
		Data:        data,
		Attributes:  m.Attributes,
		OrderingKey: m.OrderingKey,
		PublishTime: m.PublishTime,
	}
}

// create makes the topics, each with a subscription of the same name that keeps order.
func create(server *pstest.Server, topics []string) error {
	ctx := context.Background()
	for _, topic := range topics {
		project, name, found := strings.Cut(topic, "/")
		if !found {
			return fmt.Errorf("%q: want PROJECT/TOPIC", topic)
		}
		full := "projects/" + project + "/topics/" + name
		if _, err := server.GServer.CreateTopic(ctx, &pubsubpb.Topic{Name: full}); err != nil {
			return err
		}
		subscription := &pubsubpb.Subscription{
			Name:                  "projects/" + project + "/subscriptions/" + name,
			Topic:                 full,
			AckDeadlineSeconds:    10,
			EnableMessageOrdering: true,
		}
		if _, err := server.GServer.CreateSubscription(ctx, subscription); err != nil {
			return err
		}
	}
	return nil
}

// handler is the HTTP side.
func handler(server *pstest.Server, fail *failures) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /messages", func(w http.ResponseWriter, r *http.Request) {
		topic := r.URL.Query().Get("topic")
		shown := []message{}
		for _, m := range server.Messages() {
			if one := show(m); topic == "" || one.Topic == topic {
				shown = append(shown, one)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(shown); err != nil {
			log.Print(err)
		}
	})
	mux.HandleFunc("DELETE /messages", func(w http.ResponseWriter, _ *http.Request) {
		server.ClearMessages()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /fail", func(w http.ResponseWriter, r *http.Request) {
		code, codeErr := strconv.ParseUint(r.URL.Query().Get("code"), 10, 32)
		times, timesErr := strconv.Atoi(r.URL.Query().Get("times"))
		if codeErr != nil || timesErr != nil {
			http.Error(w, "want ?code=NUMBER&times=NUMBER", http.StatusBadRequest)
			return
		}
		fail.mu.Lock()
		fail.code, fail.times = codes.Code(code), times
		fail.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /delay", func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
		if err != nil {
			http.Error(w, "want ?ms=NUMBER", http.StatusBadRequest)
			return
		}
		fail.mu.Lock()
		fail.delay = time.Duration(ms) * time.Millisecond
		fail.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "address of the Pub/Sub service")
	httpAddress := flag.String("http", "127.0.0.1:0", "address of the HTTP side")
	flag.Parse()

	fail := &failures{}
	server := pstest.NewServerWithAddress(*listen, pstest.ServerReactorOption{FuncName: "Publish", Reactor: fail})
	defer server.Close()
	if err := create(server, flag.Args()); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *httpAddress)
	if err != nil {
		return err
	}
	ready := map[string]string{"grpc": server.Addr, "http": listener.Addr().String()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(listener, handler(server, fail)) }()
	select {
	case <-stop:
		return nil
	case err := <-failed:
		return err
	}
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

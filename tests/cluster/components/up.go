package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	serviceRange   = "10.96.0.0/16"
	serviceAddress = "10.96.0.1"
	startLimit     = 60 * time.Second
	stopLimit      = 5 * time.Second
)

var order = []string{"etcd", "apiserver", "controllers", "scheduler"}

// A component ends with the thread that started it (PR_SET_PDEATHSIG), so one thread starts them all: the main one, which
// lives as long as the process.
func init() { runtime.LockOSThread() }

// up makes a cluster in a folder and keeps it until SIGTERM or SIGINT, or, with --while-stdin-open, until standard input
// ends, which it does when the process at its other end dies. The line "ready" on standard output says that the API server
// answers; admin.kubeconfig is then in the folder. Lines "stop COMPONENT" and "start COMPONENT" on standard input are
// carried out, each answered by a line. With --node there is a node too.
func up(arguments []string) int {
	flags := flag.NewFlagSet("up", flag.ExitOnError)
	attached := flags.Bool("while-stdin-open", false, "end when standard input ends")
	remove := flags.Bool("remove", false, "remove the folder at the end")
	programs := flags.String("node", "", "with a node, whose pause, dns and metrics-server are in this folder")
	cgroup := flags.String("cgroup", "", "the cgroup of the node's pods")
	_ = flags.Parse(arguments) // ExitOnError
	if flags.NArg() != 1 {
		fmt.Fprintln(os.Stderr, usage)
		return 2
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE) // nobody reads "ready" any more: there is still a folder to remove
	plane := &controlPlane{folder: flags.Arg(0), running: map[string]*component{}}
	if *programs != "" {
		plane.node = &node{plane, *programs, *cgroup}
	}
	if *remove {
		defer os.RemoveAll(plane.folder)
	}
	defer plane.stopAll()
	if err := plane.startAll(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")

	lines := make(chan string)
	if *attached {
		go readLines(os.Stdin, lines)
	}
	for {
		select {
		case <-end:
			return 0
		case line, open := <-lines:
			if !open {
				return 0
			}
			if err := plane.obey(line); err != nil {
				fmt.Println("error:", err)
			} else {
				fmt.Println("done:", line)
			}
		}
	}
}

func readLines(from io.Reader, lines chan<- string) {
	scanner := bufio.NewScanner(from)
	for scanner.Scan() {
		lines <- scanner.Text()
	}
	close(lines)
}

type ports struct{ etcd, peer, apiserver, controllers, scheduler int }

type controlPlane struct {
	folder  string
	ports   ports
	http    *http.Client
	running map[string]*component
	node    *node // nil without one
}

type component struct {
	process *exec.Cmd
	ended   chan struct{}
}

// startAll writes the certificates and starts everything, on other ports if somebody took one in the meantime.
func (plane *controlPlane) startAll() error {
	var err error
	for range 3 {
		if err = plane.prepare(); err != nil {
			return err
		}
		if err = plane.startEach(); err == nil {
			return nil
		}
		plane.stopAll()
		if !plane.portWasTaken() {
			return err
		}
	}
	return err
}

func (plane *controlPlane) prepare() error {
	if err := os.RemoveAll(plane.file("etcd")); err != nil {
		return err
	}
	if err := os.MkdirAll(plane.folder, 0o700); err != nil {
		return err
	}
	for _, port := range []*int{
		&plane.ports.etcd, &plane.ports.peer, &plane.ports.apiserver, &plane.ports.controllers, &plane.ports.scheduler,
	} {
		var err error
		if *port, err = freePort(); err != nil {
			return err
		}
	}
	if plane.node != nil {
		plane.ports.apiserver = nodeServerPort
	}
	if err := writeCertificates(plane.folder, plane.server()); err != nil {
		return err
	}
	client, err := plane.client()
	plane.http = client
	if err == nil && plane.node != nil {
		err = plane.node.prepare()
	}
	return err
}

// order is the order of the start; the end goes backwards.
func (plane *controlPlane) order() []string {
	if plane.node != nil {
		return slices.Concat(order, nodeOrder)
	}
	return order
}

func (plane *controlPlane) startEach() error {
	for _, name := range plane.order() {
		if err := plane.start(name); err != nil {
			return err
		}
	}
	return nil
}

func (plane *controlPlane) obey(line string) error {
	verb, name, _ := strings.Cut(line, " ")
	if !slices.Contains(plane.order(), name) {
		return fmt.Errorf("no component is called %q", name)
	}
	switch verb {
	case "start":
		return plane.start(name)
	case "stop":
		plane.stop(name)
		return nil
	}
	return fmt.Errorf("neither start nor stop: %q", line)
}

// start starts a component and, for the API server, waits until it is ready.
func (plane *controlPlane) start(name string) error {
	if plane.running[name] != nil {
		return fmt.Errorf("%s runs already", name)
	}
	log, err := os.OpenFile(plane.file(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := plane.command(self, name)
	process := exec.Command(command[0], command[1:]...)
	process.Dir, process.Stdout, process.Stderr = plane.folder, log, log
	// A group of its own: Ctrl-C at a terminal ends this process, which ends the others in order.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return err
	}
	started := &component{process, make(chan struct{})}
	go func() {
		_ = process.Wait() // how it ended is in its log
		close(started.ended)
	}()
	plane.running[name] = started
	switch name {
	case "apiserver":
		return plane.waitUntilReady(started)
	case "containerd":
		return plane.node.waitForContainerd(started)
	}
	return nil
}

// command is a component's program and arguments. Of a flag that is given twice, the last one holds.
func (plane *controlPlane) command(self, name string) []string {
	if flags, ours := plane.flags()[name]; ours {
		command := append([]string{self, name}, flags...)
		if plane.node != nil {
			command = append(command, plane.node.flags(name)...)
		}
		return command
	}
	return plane.node.commands(self)[name]
}

func (plane *controlPlane) waitUntilReady(apiserver *component) error {
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case <-apiserver.ended:
			return errors.New("the API server ended: see " + plane.file("apiserver.log"))
		default:
		}
		answer, err := plane.http.Get("https://" + plane.server() + "/readyz")
		if err != nil {
			continue
		}
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("the API server is not ready after %s: see %s", startLimit, plane.file("apiserver.log"))
}

// stop ends a component: SIGTERM, then SIGKILL. The API server is killed at once: it would wait for watches to end, and a
// test that stops it wants an outage.
func (plane *controlPlane) stop(name string) {
	it := plane.running[name]
	if it == nil {
		return
	}
	delete(plane.running, name)
	if name != "apiserver" {
		_ = it.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-it.ended:
			return
		case <-time.After(stopLimit):
		}
	}
	_ = it.process.Process.Kill()
	<-it.ended
}

func (plane *controlPlane) stopAll() {
	for _, name := range slices.Backward(plane.order()) {
		plane.stop(name)
	}
}

func (plane *controlPlane) portWasTaken() bool {
	for _, name := range plane.order() {
		log, _ := os.ReadFile(plane.file(name + ".log"))
		if strings.Contains(string(log), "address already in use") {
			return true
		}
	}
	return false
}

func (plane *controlPlane) client() (*http.Client, error) {
	certificate, err := tls.LoadX509KeyPair(plane.file("admin.crt"), plane.file("admin.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(plane.file("ca.crt"))
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate}, RootCAs: trusted, MinVersion: tls.VersionTLS12,
	}}
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}, nil
}

// flags are the components' arguments. Nothing survives a loss of power here, so etcd need not sync; nobody reaches the API
// server as the Service `kubernetes` here, so it need not write where it is.
func (plane *controlPlane) flags() map[string][]string {
	etcd := "http://" + loopback(plane.ports.etcd)
	peer := "http://" + loopback(plane.ports.peer)
	ca, key := plane.file("ca.crt"), plane.file("sa.key")
	return map[string][]string{
		"etcd": {
			"--data-dir=" + plane.file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
		},
		"apiserver": {
			"--etcd-servers=" + etcd, "--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(plane.ports.apiserver),
			"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=" + serviceRange,
			"--tls-cert-file=" + plane.file("apiserver.crt"), "--tls-private-key-file=" + plane.file("apiserver.key"),
			"--client-ca-file=" + ca, "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + key, "--service-account-signing-key-file=" + key,
			"--requestheader-client-ca-file=" + ca, "--requestheader-allowed-names=front-proxy",
			"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file=" + plane.file("front-proxy.crt"),
			"--proxy-client-key-file=" + plane.file("front-proxy.key"),
		},
		"controllers": plane.withIdentity("controllers", plane.ports.controllers,
			"--service-account-private-key-file="+key, "--root-ca-file="+ca, "--use-service-account-credentials",
			"--cluster-signing-cert-file="+ca, "--cluster-signing-key-file="+plane.file("ca.key"),
			"--service-cluster-ip-range="+serviceRange, "--horizontal-pod-autoscaler-sync-period=5s",
			// The defaults are made for clusters of thousands; tests wait for these.
			"--concurrent-namespace-syncs=20", "--kube-api-qps=200", "--kube-api-burst=400"),
		"scheduler": plane.withIdentity("scheduler", plane.ports.scheduler),
	}
}

// withIdentity is the flags of a component that talks to the API server under its own identity.
func (plane *controlPlane) withIdentity(name string, port int, more ...string) []string {
	config := plane.file(name + ".kubeconfig")
	return append([]string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port), "--leader-elect=false",
	}, more...)
}

func (plane *controlPlane) file(name string) string {
	path, err := filepath.Abs(filepath.Join(plane.folder, name))
	if err != nil {
		return filepath.Join(plane.folder, name)
	}
	return path
}

func (plane *controlPlane) server() string { return loopback(plane.ports.apiserver) }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePort is a free port below the range from which the kernel takes the ports of outgoing connections (32768 and up), so
// that none takes it while a stopped component is away, and no client that tries again and again connects to itself.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		listener, failed := new(net.ListenConfig).Listen(context.Background(), "tcp", loopback(port))
		if failed == nil {
			return port, listener.Close()
		}
		err = failed
	}
	return 0, err
}

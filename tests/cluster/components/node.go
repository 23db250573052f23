package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// A node's own numbers. It is alone in a network namespace, so they collide with nobody's.
const (
	nodeName    = "node"
	nodeAddress = "10.89.0.1"
	podRange    = "10.244.0.0/16"
	dnsAddress  = "10.96.0.10"
	metricsPort = 4443
	// Where API servers are as a rule, and where NetworkPolicies expect them.
	nodeServerPort = 6443
	pauseImage     = "tagfleet.test/pause:1"
)

// nodeOrder is what a node adds to the order of the start.
var nodeOrder = []string{"containerd", "kubelet", "proxy", "dns", "metrics"}

// node is this machine as the one node of a cluster: a container runtime, the kubelet, kube-proxy, DNS and metrics-server. It
// needs root, and a network namespace of its own with nodeAddress on an interface (scripts/cluster makes both).
type node struct {
	plane *controlPlane
	// programs is the folder with this program's companions: pause, dns, metrics-server.
	programs string
	// cgroup is the cgroup, from the root of every hierarchy, under which all pods are.
	cgroup string
}

// prepare writes what the node's components read.
func (node *node) prepare() error {
	files := map[string]string{
		"containerd.toml":      node.containerdConfig(),
		"kubelet.yaml":         node.kubeletConfig(),
		"cni/10-pods.conflist": node.networkConfig(),
		"Corefile":             node.dnsConfig(),
	}
	for name, text := range files {
		path := node.plane.file(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return node.makeCgroup()
}

// makeCgroup makes the pods' cgroup in every hierarchy: the kubelet takes no other root.
func (node *node) makeCgroup() error {
	hierarchies := []string{"/sys/fs/cgroup"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil { // version 1
		if hierarchies, err = filepath.Glob("/sys/fs/cgroup/*"); err != nil {
			return err
		}
	}
	for _, hierarchy := range hierarchies {
		if err := os.MkdirAll(filepath.Join(hierarchy, node.cgroup), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// commands are the components' programs and arguments.
func (node *node) commands(self string) map[string][]string {
	plane := node.plane
	return map[string][]string{
		"containerd": {"containerd", "--config=" + plane.file("containerd.toml")},
		"kubelet": {
			self, "kubelet", "--config=" + plane.file("kubelet.yaml"), "--kubeconfig=" + plane.file("kubelet.kubeconfig"),
			"--hostname-override=" + nodeName, "--node-ip=" + nodeAddress, "--root-dir=" + plane.file("kubelet"),
			"--cert-dir=" + plane.file("kubelet/pki"),
		},
		// Limits of connection tracking belong to the machine, which is not ours alone.
		"proxy": {
			self, "proxy", "--kubeconfig=" + plane.file("proxy.kubeconfig"), "--proxy-mode=iptables", "--cluster-cidr=" + podRange,
			"--hostname-override=" + nodeName, "--conntrack-max-per-core=0",
		},
		"dns": {filepath.Join(node.programs, "dns"), "-conf", plane.file("Corefile")},
		"metrics": {
			filepath.Join(node.programs, "metrics-server"), "--kubeconfig=" + plane.file("admin.kubeconfig"),
			"--authentication-kubeconfig=" + plane.file("admin.kubeconfig"),
			"--authorization-kubeconfig=" + plane.file("admin.kubeconfig"),
			"--secure-port=" + strconv.Itoa(metricsPort), "--cert-dir=" + plane.file("metrics"), "--kubelet-insecure-tls",
			"--metric-resolution=12s", "--kubelet-preferred-address-types=InternalIP",
		},
	}
}

// flags are what a node adds to the control plane's flags.
func (node *node) flags(component string) []string {
	plane := node.plane
	switch component {
	case "apiserver":
		return []string{
			"--bind-address=0.0.0.0", "--advertise-address=" + nodeAddress, "--endpoint-reconciler-type=lease",
			"--kubelet-client-certificate=" + plane.file("admin.crt"), "--kubelet-client-key=" + plane.file("admin.key"),
			"--enable-aggregator-routing=true", "--allow-privileged=true",
			// For logs and forwarded ports: no DNS knows the node's name.
			"--kubelet-preferred-address-types=InternalIP",
		}
	case "controllers":
		return []string{"--allocate-node-cidrs", "--cluster-cidr=" + podRange}
	}
	return nil
}

// waitForContainerd waits until it answers, and gives it the image that every pod needs.
func (node *node) waitForContainerd(started *component) error {
	image := node.plane.file("pause.tar")
	if err := writeImage(image, pauseImage, filepath.Join(node.programs, "pause")); err != nil {
		return err
	}
	socket := node.plane.file("containerd.sock")
	var said []byte
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		select {
		case <-started.ended:
			return fmt.Errorf("containerd ended: see %s", node.plane.file("containerd.log"))
		default:
		}
		command := exec.Command("ctr", "--address="+socket, "--namespace=k8s.io", "images", "import", image)
		// A signal to the supervisor's group is not for it.
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		var err error
		if said, err = command.CombinedOutput(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("containerd does not answer after %s: %s", startLimit, said)
}

// snapshotter is where containerd lays images over each other. An overlay cannot lie on an overlay, which the folder is on
// where this machine is itself a container.
func (node *node) snapshotter() string {
	const overlay = 0x794c7630 // OVERLAYFS_SUPER_MAGIC, linux/magic.h
	var disk syscall.Statfs_t
	if err := syscall.Statfs(node.plane.folder, &disk); err == nil && disk.Type == overlay {
		return "native"
	}
	return "overlayfs"
}

// restrict_oom_score_adj: runc ends with "can't get final child's PID" where it may not lower a process's OOM score.
func (node *node) containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = %q
state = %q
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = %q
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`, node.plane.file("containerd/root"), node.plane.file("containerd/state"), node.plane.file("containerd.sock"), pauseImage,
		node.plane.file("cni"), node.snapshotter())
}

// Nothing is evicted, and no image removed, because the machine's disk is full of other things.
func (node *node) kubeletConfig() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /%s
failSwapOn: false
containerRuntimeEndpoint: unix://%s
podLogsDir: %s
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: %s}, webhook: {enabled: true}}
authorization: {mode: Webhook}
clusterDomain: cluster.local
clusterDNS: [%s]
resolvConf: ""
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%%, imagefs.available: 1%%, nodefs.inodesFree: 1%%}
`, node.cgroup, node.plane.file("containerd.sock"), node.plane.file("logs"), node.plane.file("ca.crt"), dnsAddress)
}

func (node *node) networkConfig() string {
	return fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true, "ipam": {
    "type": "host-local", "dataDir": %q, "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`, node.plane.file("cni-addresses"))
}

// There is no world outside to forward to: every other name is refused.
func (node *node) dnsConfig() string {
	return fmt.Sprintf(`.:53 {
    bind %s
    errors
    ready 127.0.0.1:8181
    cache 5
    kubernetes cluster.local in-addr.arpa {
        kubeconfig %s
    }
}
`, nodeAddress, node.plane.file("admin.kubeconfig"))
}

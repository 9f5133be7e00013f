//! The runbook: what a person who has never done this types, in order, with this cluster's own names and addresses.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::etcdutl::REVISIONS_AHEAD;
use super::kit::{AHEAD_NAME, Kit, ORIGINAL_NAME};
use super::site::{ControlPlaneNode, Installation, Site};
use crate::store::Snapshot;

/// How far the live cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveRevision {
    /// Its etcd's newest revision.
    Newest(u64),
    /// What answers is not the cluster of the snapshot.
    AnotherCluster,
    /// Nothing answers.
    Silent,
}

/// What a runbook is made of.
pub(super) struct Facts<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) site: &'a Site,
    pub(super) kit: &'a Kit,
    pub(super) live: &'a LiveRevision,
    pub(super) now: Timestamp,
}

/// The whole text, Markdown.
pub(super) fn runbook(facts: &Facts<'_>) -> String {
    let Snapshot { number, body, .. } = facts.snapshot;
    let Kit { revision, revision_ahead, hashed, .. } = facts.kit;
    let mut text = format!(
        "# Bring etcd back to snapshot #{number}\n\n\
         Made {} of snapshot #{number}, taken {}: cluster {}, Kubernetes {}, etcd run by {}.\n\n\
         This brings **all** of Kubernetes back at once, tenants included. Where the API server still answers,\n\
         `snapback rollback` or `snapback restore {number}` touches only what differs: try these first.\n\n",
        second(facts.now),
        second(body.time),
        body.cluster,
        body.kubernetes,
        facts.site.installation,
    );
    let hash = if *hashed { "its SHA-256, made by etcd, is checked" } else { "it has **no** hash of etcd's own" };
    let _ = write!(
        text,
        "## What is here\n\n\
         | file | newest revision | |\n|---|---|---|\n\
         | `{AHEAD_NAME}` | {revision_ahead} | the one to use |\n\
         | `{ORIGINAL_NAME}` | {revision} | as etcd gave it; {hash} |\n\n\
         Both hold the same objects, every Secret in clear: keep this folder as you keep a key. An etcd that starts from\n\
         the original counts revisions anew that clients have seen with other content, and controllers go on with stale\n\
         caches without noticing. The other one is {REVISIONS_AHEAD} revisions ahead, and older ones are compacted: every\n\
         client is told so, and lists again.\n\n"
    );
    lost(&mut text, facts);
    text.push_str(NOT_BROUGHT_BACK);
    text.push_str("## What to do\n\nThe first step is the last that can be taken back by doing nothing. Read all of them before.\n\n");
    match facts.site.installation {
        Installation::Talos => talos(&mut text, facts),
        Installation::Kubeadm => kubeadm(&mut text, facts.site),
        Installation::PlainEtcd => plain(&mut text, *number),
    }
    let _ = write!(
        text,
        "## Afterwards\n\n\
         ```sh\nkubectl get --raw /readyz\nkubectl get nodes\nsnapback diff {number} live    # what controllers made of it since\n```\n\n\
         Pods of objects that are gone are ended by the kubelets within minutes. Look at volumes and machines by hand, as\n\
         above. Take a new backup: revisions have moved.\n"
    );
    text
}

fn lost(text: &mut String, facts: &Facts<'_>) {
    let (number, revision) = (facts.snapshot.number, facts.kit.revision);
    let taken = second(facts.snapshot.body.time);
    let _ = writeln!(text, "## What would be lost\n");
    let _ = match facts.live {
        LiveRevision::Newest(live) if *live >= revision => writeln!(
            text,
            "Every write since the snapshot: revisions {revision} ({taken}) to {live} ({}), that is\n\
             **{} writes**, as of the making of this page. Leases, Events and status count too; `snapback diff {number} live`\n\
             names the objects.\n",
            second(facts.now),
            live - revision,
        ),
        LiveRevision::Newest(live) => writeln!(
            text,
            "Every write since {taken}. How many cannot be told: the live cluster is at revision {live}, which is before\n\
             the snapshot's {revision}, so its etcd was made anew since. `snapback diff {number} live` names the objects.\n"
        ),
        LiveRevision::AnotherCluster => writeln!(
            text,
            "Every write since {taken} (revision {revision}). How many is not known: the cluster that answers is not the\n\
             one of the snapshot.\n"
        ),
        LiveRevision::Silent => writeln!(
            text,
            "Every write since {taken} (revision {revision}). How many is not known: no API server answered.\n"
        ),
    };
}

const NOT_BROUGHT_BACK: &str = "\
## What etcd cannot bring back

- **Volumes.** Their content stays as it is now. A volume that was deleted since comes back as an object without data; one
  that was made since stays on the storage, and no object knows it.
- **LINSTOR.** Its records are custom resources (`internal.linstor.linbit.com`) and go back with etcd; the DRBD devices on
  the nodes do not. Before LINSTOR's controller runs, compare its records with what `drbdadm status` says on each node: it
  may act on records that are no longer true.
- **OVN.** Ports and addresses that were handed out since are still in OVN's own database, and may be handed out again.
  Kube-OVN rebuilds that database from the objects when it is removed (`/var/lib/ovn` on each node that has it).
- **Proxmox.** Virtual machines, disks and backup jobs stay as they are: machines made since run without an object, those
  deleted since are objects without a machine.
- **Everything else outside**: DNS, load balancers, tenant clusters' own etcd, credentials that were changed since.

";

/// Each command as Talos documents it: docs.siderolabs.com, "Disaster Recovery" (the same page of 1.3 to 1.13; before:
/// talos.dev, advanced/disaster-recovery). It also says that nodes of the type `init` cannot be recovered so, and that
/// `bootstrap` prints the revision that it found in the file.
fn talos(text: &mut String, facts: &Facts<'_>) {
    let addresses = addresses(facts.site);
    let _ = write!(
        text,
        "On one machine with `talosctl` and this folder. `reset` wipes `/var` of a control plane node, and with it what\n\
         pods keep there on the host; disks of their own, and the machine's configuration, are left alone.\n\n\
         Before the first step: the type of each has to be `controlplane`. One of the type `init` cannot be recovered so:\n\
         `talosctl edit mc --mode=staged` changes it, and a reboot.\n\n```sh\ntalosctl -n {} get machinetype\n```\n\n",
        addresses.join(",")
    );
    text.push_str("1. Stop etcd on **every** control plane node. Each reboots:\n\n```sh\n");
    for address in &addresses {
        let _ =
            writeln!(text, "talosctl -n {address} reset --graceful=false --reboot --system-labels-to-wipe=EPHEMERAL");
    }
    text.push_str("```\n\n2. Wait until etcd of each is `Preparing`:\n\n```sh\n");
    for address in &addresses {
        let _ = writeln!(text, "talosctl -n {address} service etcd");
    }
    let first = addresses.first().map_or(NO_ADDRESS, String::as_str);
    let _ = write!(
        text,
        "```\n\n3. On **one** of them; the others join by themselves:\n\n```sh\n\
         talosctl -n {first} bootstrap --recover-from=./{AHEAD_NAME}    # prints revision {}\n\
         talosctl -n {first} etcd members\n```\n\n",
        facts.kit.revision_ahead
    );
    if !facts.kit.hashed {
        let _ = write!(
            text,
            "   Only `{ORIGINAL_NAME}`, should it ever be used instead, needs `--recover-skip-hash-check`: it has no hash.\n\n"
        );
    }
}

/// The order is that of kubernetes.io, "Operating etcd clusters for Kubernetes" (Restoring an etcd cluster): all API servers
/// stop, every member is restored, all start; and the kubelet is started anew. `etcdutl` as etcd.io, "Disaster recovery"
/// (v3.6), has it: all members from one file, with the same `--initial-cluster`; its data folder must be new or empty. Name,
/// addresses and folder are what kubeadm gives etcd (kubernetes v1.37, cmd/kubeadm/app/phases/etcd/local.go), unless its
/// configuration says otherwise, so they are compared. `crictl`: cri-tools, docs/crictl.md; a tenant's own etcd may have a
/// container of that name on the same machine, hence the namespace, by the label that every kubelet sets.
fn kubeadm(text: &mut String, site: &Site) {
    let none = [ControlPlaneNode { name: "NAME".to_owned(), address: std::net::Ipv4Addr::UNSPECIFIED.into() }];
    let nodes = if site.nodes.is_empty() { &none[..] } else { &site.nodes };
    let members: Vec<String> = nodes.iter().map(|node| format!("{}={}", node.name, peer_url(node))).collect();
    text.push_str(
        "Copy this folder to every control plane node, with an `etcdutl` of the version of its etcd.\n\n\
         Before the first step, on each: what its etcd is started with has to be what stands in step 2. Where it is not (a\n\
         configuration of kubeadm may say otherwise), take what is printed here, also for the folder in steps 1 and 2. Where\n\
         there is no `etcd.yaml`, etcd runs elsewhere, and this page is not for it.\n\n\
         ```sh\ngrep -E -- '--(name|data-dir|initial-advertise-peer-urls)=' /etc/kubernetes/manifests/etcd.yaml\n```\n\n\
         1. On **every** control plane node, before the next step on any, stop the control plane and put etcd's data aside:\n\n\
         ```sh\nmkdir /root/manifests.aside && mv /etc/kubernetes/manifests/*.yaml /root/manifests.aside/\n\
         until ids=$(crictl ps --name '^(etcd|kube-apiserver)$' --label io.kubernetes.pod.namespace=kube-system --quiet) \\\n  \
         && [ -z \"$ids\" ]; do sleep 2; done\n\
         mv /var/lib/etcd /var/lib/etcd.before\n```\n\n2. On each, its own data folder:\n\n",
    );
    for node in nodes {
        let _ = write!(
            text,
            "```sh\n# on {}\netcdutl snapshot restore {AHEAD_NAME} --data-dir /var/lib/etcd --name {} \\\n  \
             --initial-advertise-peer-urls {} \\\n  --initial-cluster {}\n```\n\n",
            node.name,
            node.name,
            peer_url(node),
            members.join(","),
        );
    }
    text.push_str(
        "3. On **every** control plane node, start it again:\n\n\
         ```sh\nmv /root/manifests.aside/*.yaml /etc/kubernetes/manifests/ && systemctl restart kubelet\n```\n\n",
    );
    if site.nodes.is_empty() {
        text.push_str(
            "The snapshot names no control plane node: put each one's own name and address in place of these.\n\n",
        );
    }
}

fn plain(text: &mut String, number: u64) {
    let _ = write!(
        text,
        "1. Stop every API server, then every member of etcd. Put the data folders aside:\n\n\
         ```sh\nsystemctl stop kube-apiserver etcd\nmv /var/lib/etcd /var/lib/etcd.before\n```\n\n\
         2. On each member, with the values that its etcd is started with (and `etcdutl` in PATH):\n\n\
         ```sh\nsnapback etcd restore {number} --data-dir /var/lib/etcd --name NAME \\\n  \
         --initial-advertise-peer-urls https://ADDRESS:2380 --initial-cluster NAME=https://ADDRESS:2380,...\n```\n\n   \
         Without snapback and its repository, this folder and etcdutl do the same:\n\n\
         ```sh\netcdutl snapshot restore {AHEAD_NAME} --data-dir /var/lib/etcd --name NAME \\\n  \
         --initial-advertise-peer-urls https://ADDRESS:2380 --initial-cluster NAME=https://ADDRESS:2380,...\n```\n\n\
         3. Give the folder to the user that etcd runs as, start etcd, then the API servers:\n\n\
         ```sh\nchown -R etcd: /var/lib/etcd\nsystemctl start etcd kube-apiserver\n```\n\n"
    );
}

/// What stands where the snapshot knows no address.
const NO_ADDRESS: &str = "ADDRESS";

fn addresses(site: &Site) -> Vec<String> {
    let known: Vec<String> = site.nodes.iter().map(|node| node.address.to_string()).collect();
    if known.is_empty() { vec![NO_ADDRESS.to_owned()] } else { known }
}

fn peer_url(node: &ControlPlaneNode) -> String {
    format!("https://{}", std::net::SocketAddr::from((node.address, 2380)))
}

fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::{ControlPlaneNode, Facts, Installation, Kit, LiveRevision, Site, runbook};
    use crate::store::{ContentHash, Snapshot, SnapshotBody};

    /// The steps of a runbook for two nodes.
    fn steps(installation: Installation) -> String {
        let body = SnapshotBody { cluster: "uid".to_owned(), revision: 7, ..SnapshotBody::empty() };
        let id = ContentHash::of(b"");
        let snapshot = Snapshot { number: 42, id, parent: None, packs: Vec::new(), body };
        let node =
            |name: &str, address: &str| ControlPlaneNode { name: name.to_owned(), address: address.parse().unwrap() };
        let site = Site { installation, nodes: vec![node("a", "10.0.0.11"), node("b", "10.0.0.12")] };
        let kit = Kit { installation, revision: 7, revision_ahead: 1_000_000_007, hashed: true };
        let (live, now) = (LiveRevision::Silent, jiff::Timestamp::UNIX_EPOCH);
        let text = runbook(&Facts { snapshot: &snapshot, site: &site, kit: &kit, live: &live, now });
        let (_, steps) = text.split_once("Read all of them before.\n\n").unwrap();
        steps.split_once("## Afterwards").unwrap().0.to_owned()
    }

    #[test]
    fn talos_is_recovered_as_its_documentation_says() {
        insta::assert_snapshot!(steps(Installation::Talos), @r#"
        On one machine with `talosctl` and this folder. `reset` wipes `/var` of a control plane node, and with it what
        pods keep there on the host; disks of their own, and the machine's configuration, are left alone.

        Before the first step: the type of each has to be `controlplane`. One of the type `init` cannot be recovered so:
        `talosctl edit mc --mode=staged` changes it, and a reboot.

        ```sh
        talosctl -n 10.0.0.11,10.0.0.12 get machinetype
        ```

        1. Stop etcd on **every** control plane node. Each reboots:

        ```sh
        talosctl -n 10.0.0.11 reset --graceful=false --reboot --system-labels-to-wipe=EPHEMERAL
        talosctl -n 10.0.0.12 reset --graceful=false --reboot --system-labels-to-wipe=EPHEMERAL
        ```

        2. Wait until etcd of each is `Preparing`:

        ```sh
        talosctl -n 10.0.0.11 service etcd
        talosctl -n 10.0.0.12 service etcd
        ```

        3. On **one** of them; the others join by themselves:

        ```sh
        talosctl -n 10.0.0.11 bootstrap --recover-from=./etcd-moved-ahead.db    # prints revision 1000000007
        talosctl -n 10.0.0.11 etcd members
        ```
        "#);
    }

    #[test]
    fn kubeadm_is_recovered_as_its_documentation_says() {
        insta::assert_snapshot!(steps(Installation::Kubeadm), @r#"
        Copy this folder to every control plane node, with an `etcdutl` of the version of its etcd.

        Before the first step, on each: what its etcd is started with has to be what stands in step 2. Where it is not (a
        configuration of kubeadm may say otherwise), take what is printed here, also for the folder in steps 1 and 2. Where
        there is no `etcd.yaml`, etcd runs elsewhere, and this page is not for it.

        ```sh
        grep -E -- '--(name|data-dir|initial-advertise-peer-urls)=' /etc/kubernetes/manifests/etcd.yaml
        ```

        1. On **every** control plane node, before the next step on any, stop the control plane and put etcd's data aside:

        ```sh
        mkdir /root/manifests.aside && mv /etc/kubernetes/manifests/*.yaml /root/manifests.aside/
        until ids=$(crictl ps --name '^(etcd|kube-apiserver)$' --label io.kubernetes.pod.namespace=kube-system --quiet) \
          && [ -z "$ids" ]; do sleep 2; done
        mv /var/lib/etcd /var/lib/etcd.before
        ```

        2. On each, its own data folder:

        ```sh
        # on a
        etcdutl snapshot restore etcd-moved-ahead.db --data-dir /var/lib/etcd --name a \
          --initial-advertise-peer-urls https://10.0.0.11:2380 \
          --initial-cluster a=https://10.0.0.11:2380,b=https://10.0.0.12:2380
        ```

        ```sh
        # on b
        etcdutl snapshot restore etcd-moved-ahead.db --data-dir /var/lib/etcd --name b \
          --initial-advertise-peer-urls https://10.0.0.12:2380 \
          --initial-cluster a=https://10.0.0.11:2380,b=https://10.0.0.12:2380
        ```

        3. On **every** control plane node, start it again:

        ```sh
        mv /root/manifests.aside/*.yaml /etc/kubernetes/manifests/ && systemctl restart kubelet
        ```
        "#);
    }
}

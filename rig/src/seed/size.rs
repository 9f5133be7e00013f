//! How many objects of which sort make a cluster of a given size.
//!
//! The shares follow a management cluster with its platform and some tenants: nearly half custom resources, then
//! configuration and secrets, access rules, workloads. At 12,000 objects with 200 CRDs everything together is about
//! 45 MB of JSON, as measured on a cluster with CozyStack's own CRDs.

/// Objects to post, by sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// CustomResourceDefinitions.
    pub crds: usize,
    /// Namespaces of tenants, beside those of the platform.
    pub tenants: usize,
    /// HelmReleases of the platform.
    pub releases: usize,
    /// ConfigMaps.
    pub config_maps: usize,
    /// Secrets of all types.
    pub secrets: usize,
    /// ServiceAccounts with a Role and a RoleBinding each.
    pub accounts: usize,
    /// ClusterRoles with a ClusterRoleBinding each.
    pub cluster_roles: usize,
    /// Deployments; every one with a Service.
    pub deployments: usize,
    /// StatefulSets, DaemonSets, Jobs and CronJobs together.
    pub other_workloads: usize,
    /// PersistentVolumes, each claimed by a PersistentVolumeClaim.
    pub volumes: usize,
    /// NetworkPolicies, PodDisruptionBudgets and Ingresses together.
    pub policies: usize,
    /// Objects owned by custom resources.
    pub owned: usize,
    /// Custom resources: whatever is missing to the size.
    pub custom_resources: usize,
}

/// Below this many objects a cluster is for tests: few CRDs, few releases.
const SMALL: usize = 2000;

impl Counts {
    /// The counts of a cluster of about `size` objects; what `crds` are there is known by then.
    pub fn of(size: usize) -> Self {
        let small = size < SMALL;
        let share = |per_mille: usize| (size * per_mille / 1000).max(2);
        let mut counts = Self {
            crds: if small { 0 } else { 200 },
            tenants: (size / 250).clamp(3, 200),
            releases: if small { 11 } else { 40 },
            config_maps: share(90),
            secrets: share(90),
            accounts: share(35),
            cluster_roles: share(15),
            deployments: share(25),
            other_workloads: share(20),
            volumes: share(20),
            policies: share(40),
            owned: share(30),
            custom_resources: 0,
        };
        counts.custom_resources = size.saturating_sub(counts.built_in());
        counts
    }

    fn built_in(&self) -> usize {
        self.crds
            + self.tenants
            + self.releases
            + self.config_maps
            + self.secrets
            + 3 * self.accounts
            + 2 * self.cluster_roles
            + 2 * self.deployments
            + self.other_workloads
            + 2 * self.volumes
            + self.policies
            + self.owned
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn the_parts_add_up_to_the_size() {
        for size in [500, 12_000, 100_000] {
            let counts = Counts::of(size);
            assert_eq!(counts.built_in() + counts.custom_resources, size);
            assert!(counts.custom_resources * 3 > size, "{counts:?}");
        }
    }
}

/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the control plane need of each other. */
#ifndef NICSIM_CONTROL_H
#define NICSIM_CONTROL_H

#include <linux/rtnetlink.h>
#include <linux/spinlock.h>

#include "nicsim.h"

/* Where a legacy-mode packet comes from or goes to: VF n is LEGACY_VF0 + n. */
enum nicsim_legacy_port {
	LEGACY_NONE,
	LEGACY_WIRE,
	LEGACY_PF,
	LEGACY_VF0,
};

struct nicsim_station {
	u8 mac[ETH_ALEN];
	u16 vid;
	u16 port;			/* enum nicsim_legacy_port */
};

#define NICSIM_FDB_BITS	8

/* A direct-mapped table: of two stations in one slot, one is flooded to. */
struct nicsim_fdb {
	spinlock_t lock;
	struct nicsim_station slot[1 << NICSIM_FDB_BITS];
};

/* The devlink instance's private part. */
struct nicsim_pf {
	struct nicsim nic;
	struct devlink_health_reporter *fw;
	struct nicsim_fdb fdb;
};

static inline struct nicsim_pf *nicsim_pf(struct nicsim *nic)
{
	return container_of(nic, struct nicsim_pf, nic);
}

static inline struct nicsim *nicsim_of_devlink(struct devlink *devlink)
{
	return &((struct nicsim_pf *)devlink_priv(devlink))->nic;
}

/* netdev_priv() of every netdev of ours. */
struct nicsim_netdev {
	struct nicsim_vport *vport;
};

static inline struct nicsim_vport *nicsim_vport_of(const struct net_device *dev)
{
	return ((struct nicsim_netdev *)netdev_priv(dev))->vport;
}

/* The last byte of a generated MAC says which netdev it is. */
enum nicsim_mac_tag {
	NICSIM_MAC_VF = 0x00,		/* + VF index */
	NICSIM_MAC_REP = 0x80,		/* + VF index */
	NICSIM_MAC_PF = 0xfe,
	NICSIM_MAC_WIRE = 0xff,
};

/* What the NIC says of itself, in devlink and ethtool. */
#define NICSIM_FW_VERSION	"1.12.3"

/* main.c */
extern struct pci_driver nicsim_driver;

/* netdev.c: what the four kinds of netdev have in common. */
struct net_device *nicsim_netdev_alloc(struct nicsim_vport *vport,
				       const char *name, u8 mac_tag);
int nicsim_netdev_open(struct net_device *dev);
int nicsim_netdev_stop(struct net_device *dev);
netdev_tx_t nicsim_netdev_xmit(struct sk_buff *skb, struct net_device *dev,
			       void (*enter)(struct nicsim_vport *vport,
					     struct sk_buff *skb));

/* vport.c */
void nicsim_vport_init(struct nicsim *nic, struct nicsim_vport *vport, u16 num);
void nicsim_vport_reset(struct nicsim_vport *vport);
void nicsim_vport_rx(struct nicsim_vport *vport, struct sk_buff *skb);
void nicsim_deliver(struct net_device *dev, struct sk_buff *skb);

/* carrier.c: under rtnl. */
void nicsim_carrier_update(struct nicsim_vport *vport);
void nicsim_carrier_update_all(struct nicsim *nic);

/* pf.c */
int nicsim_pf_probe(struct pci_dev *pdev);
void nicsim_pf_remove(struct pci_dev *pdev);

/* sriov.c */
int nicsim_sriov_configure(struct pci_dev *pdev, int num_vfs);
struct pci_dev *nicsim_vf_function(struct pci_dev *pf, int index);
int nicsim_sriov_claim(struct notifier_block *nb, unsigned long event,
		       void *data);

/* vf.c */
int nicsim_vf_probe(struct pci_dev *pdev);
void nicsim_vf_remove(struct pci_dev *pdev);
extern const struct pci_error_handlers nicsim_reset_handlers;
void nicsim_vf_take_mac(struct nicsim_vport *vport);

/* uplink.c and wire.c */
int nicsim_uplink_create(struct nicsim *nic);
void nicsim_uplink_destroy(struct nicsim *nic);
bool nicsim_is_uplink_netdev(const struct net_device *dev);
int nicsim_wire_create(struct nicsim *nic);
void nicsim_wire_destroy(struct nicsim *nic);

/* vfconfig.c: the VF half of the PF's net_device_ops. Under rtnl. */
int nicsim_set_vf_mac(struct net_device *dev, int vf, u8 *mac);
int nicsim_set_vf_vlan(struct net_device *dev, int vf, u16 vlan, u8 qos,
		       __be16 proto);
int nicsim_set_vf_rate(struct net_device *dev, int vf, int min, int max);
int nicsim_set_vf_spoofchk(struct net_device *dev, int vf, bool on);
int nicsim_set_vf_trust(struct net_device *dev, int vf, bool on);
int nicsim_set_vf_link_state(struct net_device *dev, int vf, int state);
int nicsim_get_vf_config(struct net_device *dev, int vf,
			 struct ifla_vf_info *info);

/* rep.c: devlink lock held, rtnl not held. */
int nicsim_rep_create(struct nicsim_vport *vport);
void nicsim_reps_destroy(struct nicsim *nic, u16 count);
void nicsim_rep_appear(struct work_struct *work);
bool nicsim_is_rep(const struct net_device *dev);

/* eswitch.c: devlink lock held, rtnl not held. */
int nicsim_eswitch_enable_vfs(struct nicsim *nic, u16 num_vfs);
void nicsim_eswitch_disable_vfs(struct nicsim *nic);
void nicsim_eswitch_teardown(struct nicsim *nic);
int nicsim_eswitch_mode_get(struct devlink *devlink, u16 *mode);
int nicsim_eswitch_mode_set(struct devlink *devlink, u16 mode,
			    struct netlink_ext_ack *extack);
int nicsim_eswitch_inline_get(struct devlink *devlink, u8 *mode);
int nicsim_eswitch_inline_set(struct devlink *devlink, u8 mode,
			      struct netlink_ext_ack *extack);
int nicsim_eswitch_encap_get(struct devlink *devlink,
			     enum devlink_eswitch_encap_mode *mode);
int nicsim_eswitch_encap_set(struct devlink *devlink,
			     enum devlink_eswitch_encap_mode mode,
			     struct netlink_ext_ack *extack);

/* devlink.c */
extern const struct devlink_ops nicsim_devlink_ops;

/* port.c: devlink lock held. */
int nicsim_port_register(struct nicsim_vport *vport);
void nicsim_port_unregister(struct nicsim_vport *vport);

/* rate.c: shares and limits, of leaves and nodes alike. */
int nicsim_rate_set(struct devlink_rate *rate, void *priv, u64 value,
		    struct netlink_ext_ack *extack);
int nicsim_rate_node_new(struct devlink_rate *node, void **priv,
			 struct netlink_ext_ack *extack);
int nicsim_rate_node_del(struct devlink_rate *node, void *priv,
			 struct netlink_ext_ack *extack);
int nicsim_rate_set_parent(struct devlink_rate *child,
			   struct devlink_rate *parent, void *child_priv,
			   void *parent_priv, struct netlink_ext_ack *extack);

/* health.c */
int nicsim_health_init(struct nicsim *nic);
void nicsim_health_exit(struct nicsim *nic);
void nicsim_health_hang(struct nicsim *nic);
void nicsim_health_heal(struct nicsim *nic);

/* ethtool.c */
extern const struct ethtool_ops nicsim_ethtool_ops;
int nicsim_set_features(struct net_device *dev, netdev_features_t features);

/* legacy.c */
void nicsim_legacy_init(struct nicsim *nic);
void nicsim_legacy_forget(struct nicsim *nic);
void nicsim_legacy_rx(struct nicsim *nic, u16 from, struct sk_buff *skb);

/* fault.c */
void nicsim_fault_init(struct nicsim *nic);
void nicsim_fault_exit(struct nicsim *nic);
int nicsim_eswitch_fault(struct nicsim *nic, struct netlink_ext_ack *extack);
void nicsim_debugfs_create(void);
void nicsim_debugfs_remove(void);

#endif /* NICSIM_CONTROL_H */

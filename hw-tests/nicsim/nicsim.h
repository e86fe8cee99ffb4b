/* SPDX-License-Identifier: GPL-2.0 */
/*
 * nicsim: a switchdev SR-IOV NIC whose hardware is software.
 *
 * This header is the contract between the two halves of the module:
 *
 *   control plane  PCI functions, netdevs, devlink, e-switch mode, faults
 *   data plane     flow_*.c: the flow table that tc flower fills
 *
 * What only the control plane needs is in control.h.
 */
#ifndef NICSIM_H
#define NICSIM_H

#include <linux/atomic.h>
#include <linux/if_ether.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/skbuff.h>
#include <linux/u64_stats_sync.h>
#include <net/devlink.h>

#define NICSIM_NAME	"nicsim"
/* As many as igb offers on the same hardware. */
#define NICSIM_MAX_VFS	7
#define NICSIM_UPLINK	0xffff
#define NICSIM_MAX_MTU	9000

/*
 * Lock order, outermost first:
 *
 *   device lock of the PF (probe, remove, sriov_numvfs)
 *     devlink instance lock of the PF (all devlink operations)
 *       rtnl (all ndo_* but xmit and get_stats64, tc block and filter calls)
 *         the data plane's own mutexes
 *           its spinlocks (bh)
 *
 * No rtnl holder ever takes the devlink instance lock.
 * Packets run under rcu_read_lock with bottom halves disabled.
 */

struct dentry;
struct nicsim;

/*
 * Legacy VF settings: written under rtnl, read by packets with READ_ONCE.
 * The MAC is what the hypervisor gave the VF; zero while it gave none.
 */
struct nicsim_vf_config {
	u8 mac[ETH_ALEN];
	u16 vlan;
	u8 qos;
	__be16 vlan_proto;
	bool spoofchk;
	bool trusted;
	int link_state;			/* IFLA_VF_LINK_STATE_* */
	u32 min_tx_rate, max_tx_rate;	/* Mbit/s */
};

/*
 * A port of the e-switch: the uplink or a VF. It lives as long as its NIC;
 * the netdevs at its two sides come and go. fn and rep are written under
 * rtnl and read under rtnl or rcu_read_lock.
 */
struct nicsim_vport {
	struct nicsim *nic;
	u16 num;			/* NICSIM_UPLINK, or the VF's index */
	/* Far side: the VF's netdev, or the wire for the uplink. NULL while
	 * the VF's PCI function is not bound to nicsim.
	 */
	struct net_device __rcu *fn;
	/* Near side: the VF's representor (switchdev mode only), or the PF's
	 * netdev for the uplink.
	 */
	struct net_device __rcu *rep;

	struct nicsim_vf_config cfg;
	bool fn_active;			/* devlink port function state; rtnl */
	struct devlink_port dl_port;
	struct delayed_work rep_work;	/* registers a representor late */
	void *flow;			/* for the data plane */
};

/* Whose refusals the flow table imitates. */
enum nicsim_profile {
	NICSIM_PROFILE_ANY,
	NICSIM_PROFILE_MLX5,
	NICSIM_PROFILE_ICE,
};

/*
 * Limits and faults, set by module parameter or debugfs at any time; read
 * with READ_ONCE. README.md is their reference.
 */
struct nicsim_knobs {
	u32 profile;			/* enum nicsim_profile */
	u32 capacity;			/* filters; 0 means no limit */
	u32 insert_latency_us;		/* slept at each insertion */
	u32 insert_fail_nth;		/* see nicsim_insert_fault() */
	u32 vf_slow_ms;			/* a VF's netdev appears that late */
	u32 rep_slow_ms;		/* so does a representor */
	u32 eswitch_fail;		/* the next n mode changes fail */
	bool eswitch_busy;
	bool rep_unnamed;		/* representors appear as eth%d */
	bool fw_hang;
	bool link_down;
};

/* One PF is one NIC. */
struct nicsim {
	struct pci_dev *pdev;
	struct devlink *devlink;
	int id;				/* the number in np%d */
	struct netdev_phys_item_id switch_id;
	struct dentry *debugfs;		/* the data plane may add files */
	struct nicsim_knobs knobs;

	/* Written under the devlink lock and rtnl, read anywhere. */
	enum devlink_eswitch_mode mode;
	enum devlink_eswitch_inline_mode inline_mode;
	enum devlink_eswitch_encap_mode encap_mode;

	u16 num_vfs;			/* devlink lock */
	struct nicsim_vport uplink;
	struct nicsim_vport vf[NICSIM_MAX_VFS];

	void *flow;			/* for the data plane */
};

static inline bool nicsim_is_switchdev(const struct nicsim *nic)
{
	return READ_ONCE(nic->mode) == DEVLINK_ESWITCH_MODE_SWITCHDEV;
}

static inline bool nicsim_is_uplink(const struct nicsim_vport *vport)
{
	return vport->num == NICSIM_UPLINK;
}

/*
 * Packets. At every function below that takes an skb:
 *
 *  - it is as in ndo_start_xmit: skb->data is at the Ethernet header, which
 *    skb->len counts; skb_mac_header() and skb_network_header() are set; a
 *    VLAN tag may be in the data or in skb->vlan_tci (skb_vlan_tag_present);
 *  - the callee owns it. It may be cloned and non-linear, so call
 *    skb_ensure_writable() before writing; it is never shared nor GSO;
 *  - its checksums are complete: no netdev of ours offers checksum offload,
 *    so ip_summed is never CHECKSUM_PARTIAL; whoever changes headers sets
 *    the checksums right and leaves CHECKSUM_NONE;
 *  - callers are under rcu_read_lock with bottom halves disabled.
 */

/* ---- Given by the data plane ---- */

/*
 * At probe, before any netdev of the NIC is registered, with debugfs in place;
 * and after the last one is unregistered, when the whole debugfs directory is
 * gone already. Devlink lock held, rtnl not held.
 */
int nicsim_flow_init(struct nicsim *nic);
void nicsim_flow_exit(struct nicsim *nic);

/*
 * ndo_setup_tc of representors and the PF's netdev, under rtnl. Blocks bind in
 * either mode (a clsact qdisc outlives a mode change on the PF's netdev);
 * filters are refused while the NIC is not in switchdev mode, or while
 * NETIF_F_HW_TC is off at the netdev.
 */
int nicsim_flow_setup_tc(struct nicsim_vport *vport, enum tc_setup_type type,
			 void *data);

/* Filters now in hardware that match packets from this port. Under rtnl. */
unsigned int nicsim_flow_count(struct nicsim_vport *vport);

/*
 * Just before a representor is unregistered, rtnl held, vport->rep still set:
 * take the filters that start or end at this port out of hardware. tc destroys
 * them and unbinds the block later, inside unregister_netdevice().
 */
void nicsim_flow_vport_gone(struct nicsim_vport *vport);

/*
 * Leaving switchdev mode, devlink lock and rtnl held, all representors already
 * gone: take every filter out of hardware. Those on the PF's netdev stay known
 * to tc, which destroys them later.
 */
void nicsim_flow_flush(struct nicsim *nic);

/*
 * A packet enters the e-switch from a function or the wire; the control plane
 * has scrubbed it (no dst, mark, conntrack, tc chain of the sender's).
 * skb->dev is vport->fn. True: consumed. False: a miss; the caller delivers
 * the skb to vport->rep as it came. The data plane may have attached a
 * tc_skb_ext chain, and must not have changed headers unless as its profile's
 * card would.
 */
bool nicsim_flow_rx(struct nicsim_vport *vport, struct sk_buff *skb);

/* ---- Given by the control plane ---- */

/*
 * The port whose representor (or uplink netdev) this is; NULL if it is none of
 * this NIC's. Under rtnl or rcu_read_lock.
 */
struct nicsim_vport *nicsim_vport_of_rep(struct nicsim *nic,
					 const struct net_device *dev);

/*
 * Out of the e-switch: to the receive path of the VF's netdev, or the wire's.
 * Dropped and counted if nobody is there or the link is down. Scrubs.
 */
void nicsim_vport_tx(struct nicsim_vport *vport, struct sk_buff *skb);

/*
 * To the receive path of the representor, with tc_skb_ext kept: the slow path.
 */
void nicsim_vport_slow(struct nicsim_vport *vport, struct sk_buff *skb);

/*
 * Must this insertion fail? Counts the insertions down while insert_fail_nth is
 * set: n means the n-th from now fails, once. Calls come one after the other,
 * by the data plane's lock. The caller answers -EIO and a sentence.
 */
bool nicsim_insert_fault(struct nicsim *nic);

/*
 * Does the firmware answer? While the fw_hang fault is on, commands fail:
 * returns -ETIMEDOUT and sets the extack sentence. Call it at each insertion.
 */
int nicsim_fw_check(struct nicsim *nic, struct netlink_ext_ack *extack);

#endif /* NICSIM_H */

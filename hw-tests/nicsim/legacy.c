// SPDX-License-Identifier: GPL-2.0
/*
 * Legacy mode: a learning bridge between the wire, the PF and the VFs. A VF
 * with a VLAN is an access port of it; one without passes tags through.
 */
#include <linux/etherdevice.h>
#include <linux/hash.h>
#include <linux/if_vlan.h>

#include "control.h"

/* Who sends, from where, in which VLAN: known after ingress. */
struct nicsim_hop {
	u16 from;
	u16 vid;
};

void nicsim_legacy_init(struct nicsim *nic)
{
	spin_lock_init(&nicsim_pf(nic)->fdb.lock);
}

void nicsim_legacy_forget(struct nicsim *nic)
{
	struct nicsim_fdb *fdb = &nicsim_pf(nic)->fdb;

	spin_lock_bh(&fdb->lock);
	memset(fdb->slot, 0, sizeof(fdb->slot));
	spin_unlock_bh(&fdb->lock);
}

static struct nicsim_station *nicsim_fdb_slot(struct nicsim_fdb *fdb,
					      const u8 *mac, u16 vid)
{
	u64 key = ether_addr_to_u64(mac) << 12 | vid;

	return &fdb->slot[hash_64(key, NICSIM_FDB_BITS)];
}

static void nicsim_fdb_learn(struct nicsim_fdb *fdb, const u8 *mac,
			     const struct nicsim_hop *hop)
{
	struct nicsim_station *station;

	if (!is_valid_ether_addr(mac))
		return;
	spin_lock_bh(&fdb->lock);
	station = nicsim_fdb_slot(fdb, mac, hop->vid);
	ether_addr_copy(station->mac, mac);
	station->vid = hop->vid;
	station->port = hop->from;
	spin_unlock_bh(&fdb->lock);
}

static u16 nicsim_fdb_find(struct nicsim_fdb *fdb, const u8 *mac, u16 vid)
{
	struct nicsim_station *station;
	u16 port = LEGACY_NONE;

	spin_lock_bh(&fdb->lock);
	station = nicsim_fdb_slot(fdb, mac, vid);
	if (station->vid == vid && ether_addr_equal(station->mac, mac))
		port = station->port;
	spin_unlock_bh(&fdb->lock);
	return port;
}

static bool nicsim_tag(const struct sk_buff *skb, __be16 *proto, u16 *vid)
{
	u16 tci;

	if (skb_vlan_tag_present(skb)) {
		*proto = skb->vlan_proto;
		*vid = skb_vlan_tag_get_id(skb);
		return true;
	}
	if (skb_headlen(skb) < VLAN_ETH_HLEN || __vlan_get_tag(skb, &tci))
		return false;
	*proto = eth_hdr(skb)->h_proto;
	*vid = tci & VLAN_VID_MASK;
	return true;
}

static void nicsim_legacy_drop(struct sk_buff *skb)
{
	dev_core_stats_tx_dropped_inc(skb->dev);
	kfree_skb(skb);
}

static bool nicsim_is_spoofed(const struct nicsim_vport *vport,
			      const struct sk_buff *skb)
{
	const u8 *mac = vport->cfg.mac;

	if (!READ_ONCE(vport->cfg.spoofchk))
		return false;
	if (is_zero_ether_addr(mac))
		mac = skb->dev->dev_addr;
	return !ether_addr_equal(eth_hdr(skb)->h_source, mac);
}

/* Into an access port: tag it. False: dropped, or no memory; skb is gone. */
static bool nicsim_access_in(const struct nicsim_vport *vport,
			     struct sk_buff *skb)
{
	const struct nicsim_vf_config *cfg = &vport->cfg;
	u16 tci = READ_ONCE(cfg->vlan) | cfg->qos << VLAN_PRIO_SHIFT;
	__be16 proto;
	u16 vid;

	if (!tci)
		return true;
	if (cfg->vlan_proto == htons(ETH_P_8021Q) &&
	    nicsim_tag(skb, &proto, &vid)) {
		nicsim_legacy_drop(skb);
		return false;
	}
	return !skb_vlan_push(skb, cfg->vlan_proto, tci);
}

/* Out of an access port: only its VLAN, untagged. False: skb is gone. */
static bool nicsim_access_out(const struct nicsim_vport *vport,
			      struct sk_buff *skb)
{
	u16 vlan = READ_ONCE(vport->cfg.vlan);
	__be16 proto;
	u16 vid;

	if (!vlan)
		return true;
	if (!nicsim_tag(skb, &proto, &vid) || vid != vlan ||
	    proto != vport->cfg.vlan_proto || skb_vlan_pop(skb)) {
		kfree_skb(skb);
		return false;
	}
	return true;
}

static bool nicsim_legacy_vf_in(const struct nicsim_vport *vport,
				struct sk_buff *skb)
{
	if (nicsim_is_spoofed(vport, skb)) {
		nicsim_legacy_drop(skb);
		return false;
	}
	return nicsim_access_in(vport, skb);
}

static void nicsim_legacy_out(struct nicsim *nic, u16 port, struct sk_buff *skb)
{
	struct nicsim_vport *vport;

	if (port == LEGACY_WIRE) {
		nicsim_vport_tx(&nic->uplink, skb);
	} else if (port == LEGACY_PF) {
		nicsim_vport_slow(&nic->uplink, skb);
	} else {
		vport = &nic->vf[port - LEGACY_VF0];
		if (nicsim_access_out(vport, skb))
			nicsim_vport_tx(vport, skb);
	}
}

static bool nicsim_legacy_present(const struct nicsim *nic, u16 port)
{
	return port < LEGACY_VF0 ||
	       rcu_access_pointer(nic->vf[port - LEGACY_VF0].fn);
}

static void nicsim_legacy_flood(struct nicsim *nic, u16 from,
				struct sk_buff *skb)
{
	struct sk_buff *copy;
	u16 port;

	for (port = LEGACY_WIRE; port < LEGACY_VF0 + NICSIM_MAX_VFS; port++) {
		if (port == from || !nicsim_legacy_present(nic, port))
			continue;
		copy = skb_copy(skb, GFP_ATOMIC);
		if (copy)
			nicsim_legacy_out(nic, port, copy);
	}
	consume_skb(skb);
}

static void nicsim_legacy_forward(struct nicsim *nic,
				  const struct nicsim_hop *hop,
				  struct sk_buff *skb)
{
	struct nicsim_fdb *fdb = &nicsim_pf(nic)->fdb;
	u16 to = LEGACY_NONE;

	nicsim_fdb_learn(fdb, eth_hdr(skb)->h_source, hop);
	if (!is_multicast_ether_addr(eth_hdr(skb)->h_dest))
		to = nicsim_fdb_find(fdb, eth_hdr(skb)->h_dest, hop->vid);
	if (to == LEGACY_NONE)
		nicsim_legacy_flood(nic, hop->from, skb);
	else if (to == hop->from)
		nicsim_legacy_drop(skb);
	else
		nicsim_legacy_out(nic, to, skb);
}

/* skb as in ndo_start_xmit, from a netdev that sits at this port. */
void nicsim_legacy_rx(struct nicsim *nic, u16 from, struct sk_buff *skb)
{
	struct nicsim_hop hop = { .from = from };
	__be16 proto;

	if (from >= LEGACY_VF0 &&
	    !nicsim_legacy_vf_in(&nic->vf[from - LEGACY_VF0], skb))
		return;
	nicsim_tag(skb, &proto, &hop.vid);
	nicsim_legacy_forward(nic, &hop, skb);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Link state. Each end of a port has carrier while the other end is up; in
 * legacy mode a VF has no other end and follows the cable, or what the
 * hypervisor forced.
 */
#include <linux/if_link.h>

#include "control.h"

static bool nicsim_up(const struct net_device *dev)
{
	return dev && netif_running(dev);
}

static void nicsim_set_carrier(struct net_device *dev, bool on)
{
	if (!dev)
		return;
	if (on)
		netif_carrier_on(dev);
	else
		netif_carrier_off(dev);
}

static bool nicsim_cable_ok(const struct nicsim *nic)
{
	return !READ_ONCE(nic->knobs.link_down);
}

static bool nicsim_legacy_link(const struct nicsim_vport *vport)
{
	switch (vport->cfg.link_state) {
	case IFLA_VF_LINK_STATE_ENABLE:
		return true;
	case IFLA_VF_LINK_STATE_DISABLE:
		return false;
	default:
		return nicsim_cable_ok(vport->nic) &&
		       nicsim_up(rtnl_dereference(vport->nic->uplink.fn));
	}
}

static void nicsim_carrier_update_vf(struct nicsim_vport *vport)
{
	struct net_device *rep = rtnl_dereference(vport->rep);
	struct net_device *fn = rtnl_dereference(vport->fn);
	bool link;

	link = nicsim_is_switchdev(vport->nic) ? nicsim_up(rep) :
						 nicsim_legacy_link(vport);
	nicsim_set_carrier(fn, link && vport->fn_active);
	nicsim_set_carrier(rep, nicsim_up(fn) && vport->fn_active);
}

static void nicsim_carrier_update_uplink(struct nicsim_vport *uplink)
{
	struct net_device *wire = rtnl_dereference(uplink->fn);
	struct net_device *pf = rtnl_dereference(uplink->rep);
	bool cable = nicsim_cable_ok(uplink->nic);

	nicsim_set_carrier(wire, cable && nicsim_up(pf));
	nicsim_set_carrier(pf, cable && nicsim_up(wire));
}

void nicsim_carrier_update_all(struct nicsim *nic)
{
	int i;

	ASSERT_RTNL();
	nicsim_carrier_update_uplink(&nic->uplink);
	for (i = 0; i < NICSIM_MAX_VFS; i++)
		nicsim_carrier_update_vf(&nic->vf[i]);
}

void nicsim_carrier_update(struct nicsim_vport *vport)
{
	ASSERT_RTNL();
	if (nicsim_is_uplink(vport))
		nicsim_carrier_update_all(vport->nic);
	else
		nicsim_carrier_update_vf(vport);
}

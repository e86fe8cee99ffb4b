// SPDX-License-Identifier: GPL-2.0
/* ethtool: who drives the netdev, its link, and the hw-tc-offload switch. */
#include <linux/ethtool.h>

#include "control.h"

#define NICSIM_SPEED	SPEED_25000

static void nicsim_get_drvinfo(struct net_device *dev,
			       struct ethtool_drvinfo *info)
{
	struct nicsim *nic = nicsim_vport_of(dev)->nic;

	strscpy(info->driver, nicsim_is_rep(dev) ? NICSIM_NAME "_rep" :
						   NICSIM_NAME);
	strscpy(info->fw_version, NICSIM_FW_VERSION);
	if (dev->dev.parent)
		strscpy(info->bus_info, dev_name(dev->dev.parent));
	else
		strscpy(info->bus_info, pci_name(nic->pdev));
}

static int nicsim_get_link_ksettings(struct net_device *dev,
				     struct ethtool_link_ksettings *settings)
{
	ethtool_link_ksettings_zero_link_mode(settings, supported);
	ethtool_link_ksettings_zero_link_mode(settings, advertising);
	ethtool_link_ksettings_add_link_mode(settings, supported,
					     25000baseCR_Full);
	ethtool_link_ksettings_add_link_mode(settings, supported, FIBRE);
	settings->base.port = PORT_FIBRE;
	settings->base.autoneg = AUTONEG_DISABLE;
	settings->base.speed = netif_carrier_ok(dev) ? NICSIM_SPEED :
						       SPEED_UNKNOWN;
	settings->base.duplex = netif_carrier_ok(dev) ? DUPLEX_FULL :
							DUPLEX_UNKNOWN;
	return 0;
}

const struct ethtool_ops nicsim_ethtool_ops = {
	.get_drvinfo = nicsim_get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_link_ksettings = nicsim_get_link_ksettings,
};

/* hw-tc-offload is not turned off under filters, as on mlx5. */
int nicsim_set_features(struct net_device *dev, netdev_features_t features)
{
	bool turn_off = (dev->features & ~features) & NETIF_F_HW_TC;
	unsigned int count;

	if (!turn_off)
		return 0;
	count = nicsim_flow_count(nicsim_vport_of(dev));
	if (!count)
		return 0;
	netdev_err(dev, "hw-tc-offload stays on: %u filters are in hardware\n",
		   count);
	return -EINVAL;
}

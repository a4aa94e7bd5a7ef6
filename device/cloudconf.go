package device

const typeCloudConf = "oic.r.coapcloudconf"

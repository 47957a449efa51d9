// What a user can write about a VM as a libvirt domain: what it becomes, and what each mistake is answered with.
#include "tools/vm/domain_xml.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/tools/error_of.hpp"

namespace understudy::tools {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

std::string replaced(std::string text, const std::string& what, const std::string& with) {
    return text.replace(text.find(what), what.size(), with);
}

// A domain whose <devices> and other elements can be filled in; it starts from an initial file system.
std::string domain(const std::string& devices, const std::string& extra = "",
                   const std::string& os = "<initrd>/srv/initrd</initrd>") {
    return fmt::format(
        "<domain type='kvm'>\n<name>redis</name>\n<memory unit='MiB'>64</memory>\n<vcpu>1</vcpu>\n"
        "<os><type arch='x86_64'>hvm</type>{}</os>\n{}\n<devices>\n{}\n</devices>\n</domain>\n",
        os, extra, devices);
}

TEST(Domain, TheSampleOfTheDocumentationDescribesAVmOnATap) {
    const VmDescription vm = read_domain_file(UNDERSTUDY_SOURCE_DIR "/tests/data/domains/redis.xml", "");
    EXPECT_TRUE(vm.is_linux());
    EXPECT_EQ(vm.name, "redis");
    EXPECT_EQ(vm.memory, 512_MiB);
    EXPECT_EQ(vm.image, "/srv/understudy/redis.img");
    EXPECT_EQ(vm.kernel, "") << "ours";
    EXPECT_EQ(vm.initrd, "") << "ours";
    EXPECT_EQ(vm.command_line, "-- redis-server --protected-mode no --save \"\"");
    EXPECT_TRUE(vm.arguments.empty());
    EXPECT_EQ(vm.network.endpoint, "tap:redis-a");
    EXPECT_EQ(vm.network.mac, (MacAddress{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
    EXPECT_EQ(vm.network.ipv4_address, inet_addr("10.0.2.15"));
    EXPECT_EQ(vm.network.ipv4_netmask, inet_addr("255.255.255.0"));
    EXPECT_EQ(vm.network.ipv4_gateway, inet_addr("10.0.2.2"));
}

TEST(Domain, WhatTheToolsAroundLibvirtAddIsHarmless) {
    const std::string xml = replaced(
        domain("<emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' index='0' model='none'/>"
               "<input type='mouse' bus='ps2'/><serial type='pty'/><console type='pty'/><memballoon model='none'/>",
               "<features><acpi/><apic/></features><cpu mode='custom' match='exact'><model>Nehalem</model></cpu>"
               "<clock offset='utc'/><on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot>"
               "<on_crash>destroy</on_crash><pm><suspend-to-mem enabled='no'/></pm>"),
        "</name>",
        "</name><uuid>12345678-1234-1234-1234-123456789abc</uuid><title>t</title>"
        "<metadata><x:y xmlns:x='urn:x'/></metadata>"
        "<currentMemory unit='KiB'>65536</currentMemory>");
    const VmDescription vm = read_domain(xml, "d.xml", "");
    EXPECT_EQ(vm.initrd, "/srv/initrd");
    EXPECT_FALSE(vm.network.present());
}

TEST(Domain, AnImageIsADiskThatNobodyWritesTo) {
    const auto image = [](const std::string& disk) { return read_domain(domain(disk, "", ""), "d.xml", "").image; };
    EXPECT_EQ(image("<disk type='file' device='cdrom'><source file='/a.img'/><target dev='sda' bus='sata'/></disk>"),
              "/a.img");
    EXPECT_EQ(image("<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/>"
                    "<source file='/b.img'/><target dev='vda' bus='virtio'/><readonly/><boot order='1'/></disk>"),
              "/b.img");
}

TEST(Domain, NamesKernelInitialFileSystemAndCommandLineAsLinuxUsersDo) {
    const VmDescription vm = read_domain(
        domain("", "",
               "<kernel>/srv/vmlinux</kernel><initrd>/srv/initrd</initrd><cmdline>loglevel=7 single -- sh -c \"a  "
               "b\"</cmdline>"),
        "d.xml", "");
    EXPECT_EQ(vm.kernel, "/srv/vmlinux");
    EXPECT_EQ(vm.initrd, "/srv/initrd");
    EXPECT_EQ(vm.command_line, "loglevel=7 single -- sh -c \"a  b\"") << "the kernel takes it apart";
}

TEST(Domain, EachKindOfInterfaceBecomesAnEndpoint) {
    const auto endpoint = [](const std::string& interface, std::string_view network = "") {
        return read_domain(domain(interface), "d.xml", network).network.endpoint;
    };
    EXPECT_EQ(endpoint("<interface type='bridge'><source bridge='br0'/><target dev='kv-a'/></interface>"),
              "tap:kv-a,bridge=br0");
    EXPECT_EQ(endpoint("<interface type='client'><mac address='52:54:00:00:00:01'/>"
                       "<source address='127.0.0.1' port='7000'/></interface>"),
              "gateway:127.0.0.1:7000");
    EXPECT_EQ(endpoint("<interface type='user'/>", "gateway:unix:g.sock"), "gateway:unix:g.sock");
    EXPECT_EQ(endpoint("", "gateway:unix:g.sock"), "gateway:unix:g.sock");
}

struct Refused {
    std::string xml;
    std::string answer;
};

class DomainRefusals : public ::testing::TestWithParam<Refused> {};

TEST_P(DomainRefusals, NameTheElementAndItsLine) {
    const std::string answer = error_of([] { static_cast<void>(read_domain(GetParam().xml, "d.xml", "")); });
    EXPECT_THAT(answer, HasSubstr(GetParam().answer));
}

constexpr const char* kUser = "<interface type='user'/>";

INSTANTIATE_TEST_SUITE_P(
    All, DomainRefusals,
    ::testing::Values(
        Refused{"<domain", "d.xml:1: not well-formed XML"}, Refused{"", "not well-formed XML"},
        Refused{"<network/>", "d.xml: not a libvirt domain"},
        Refused{"<!DOCTYPE domain [<!ENTITY e 'kept'>]>" +
                    domain("<interface type='bridge'><source bridge='br0'/><target dev='a&e;b'/></interface>"),
                "d.xml: a domain has no use for a <!DOCTYPE>"},
        Refused{domain("", "<vcpux/>"), "d.xml: not a valid libvirt domain: Element domain has extra content: vcpux"},
        Refused{replaced(domain(""), "'kvm'", "'xen'"), "d.xml:1: <domain> cannot be honoured"},
        Refused{replaced(domain(""), "<vcpu>1", "<vcpu>2"), "d.xml:4: <vcpu> cannot be honoured: a guest has one vCPU"},
        Refused{replaced(domain(""), "<vcpu>1", "<vcpu cpuset='0'>1"), "attribute 'cpuset'"},
        Refused{replaced(domain(""), "x86_64", "i686"), "d.xml:5: <type> cannot be honoured"},
        Refused{domain("", "", ""), "d.xml: the domain has nothing to start: give it an image"},
        Refused{domain("<disk type='file'><source file='/x'/><target dev='vda'/></disk>"),
                "d.xml:8: <disk> cannot be honoured: the image is the same at every host and stays it; what the guest "
                "writes is in its memory: add <readonly/>"},
        Refused{domain("<disk type='file' device='cdrom'><target dev='sda'/></disk>"), "name the image with <source"},
        Refused{domain("<disk type='block' device='cdrom'><source dev='/dev/sr0'/><target dev='sda'/></disk>"),
                "d.xml:8: <disk> cannot be honoured: a guest's image is a file"},
        Refused{domain("<disk type='file' device='cdrom'><driver name='qemu' type='qcow2'/><source file='/x'/>"
                       "<target dev='sda'/></disk>"),
                "d.xml:8: <driver> cannot be honoured: an image is the file system itself"},
        Refused{domain("<disk type='file' device='cdrom'><source file='/x'/><target dev='sda'/></disk>\n"
                       "<disk type='file' device='cdrom'><source file='/y'/><target dev='sdb'/></disk>"),
                "d.xml:9: <disk> cannot be honoured: a guest has one image"},
        Refused{domain("<disk type='file' device='cdrom'><source file='/x'/><target dev='sda'/>"
                       "<iotune><total_iops_sec>9</total_iops_sec></iotune></disk>"),
                "d.xml:8: <iotune> cannot be honoured"},
        Refused{domain("<rng model='virtio'><rate bytes='9'/><backend model='random'/></rng>"),
                "d.xml:8: <rate> cannot be honoured"},
        Refused{domain("<console type='tcp'><source mode='bind' host='127.0.0.1' service='1'/></console>"),
                "d.xml:8: <console> cannot be honoured"},
        Refused{domain("", "<on_poweroff>restart</on_poweroff>"), "write <on_poweroff>destroy</on_poweroff>"},
        Refused{domain("", "<on_reboot>preserve</on_reboot>"),
                "d.xml:6: <on_reboot> cannot be honoured: the guest ends or starts again: write "
                "<on_reboot>destroy</on_reboot> or <on_reboot>restart</on_reboot>"},
        Refused{domain("<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='6' slot='2' "
                       "function='0'/></source></hostdev>"),
                "d.xml:8: <hostdev> cannot be honoured"},
        Refused{domain("<graphics type='vnc'/>"), "d.xml:8: <graphics> cannot be honoured"},
        Refused{domain("<watchdog model='i6300esb'/>"), "d.xml:8: <watchdog> cannot be honoured: Understudy has no"},
        Refused{domain("<memballoon model='virtio'/>"), "write <memballoon model='none'/>"},
        Refused{domain("<interface type='bridge'><source bridge='br0'/><target dev='a'/></interface>\n"
                       "<interface type='bridge'><source bridge='br0'/><target dev='b'/></interface>"),
                "d.xml:9: <interface> cannot be honoured: a guest has one NIC"},
        Refused{domain(kUser), "say which with --network"},
        Refused{domain("<interface type='network'><source network='default'/></interface>"),
                "d.xml:8: <source> cannot be honoured"},
        Refused{domain("<interface type='bridge'><source bridge='br0'/></interface>"), "name the tap"},
        Refused{domain("<interface type='bridge'><source bridge='br0'/><target dev='a'/><bandwidth><inbound "
                       "average='1'/></bandwidth></interface>"),
                "d.xml:8: <bandwidth> cannot be honoured"},
        Refused{domain("<interface type='bridge'><source bridge='br0'/><target dev='a'/><model "
                       "type='e1000'/></interface>"),
                "d.xml:8: <model> cannot be honoured"},
        Refused{domain("", "<cpu mode='host-passthrough'/>"), "d.xml:6: <cpu> cannot be honoured"},
        Refused{domain("", "<clock offset='localtime'/>"), "d.xml:6: <clock> cannot be honoured"},
        Refused{domain("", "<on_crash>coredump-destroy</on_crash>"), "d.xml:6: <on_crash> cannot be honoured"},
        Refused{domain("", "<features><hyperv/></features>"), "d.xml:6: <hyperv> cannot be honoured"},
        Refused{domain("", "<currentMemory unit='MiB'>32</currentMemory>"), "<currentMemory> differs from <memory>"},
        Refused{domain("", "<memoryBacking><hugepages/></memoryBacking>"), "d.xml:6: <memoryBacking>"}));

TEST(Domain, AFileThatIsTooLargeIsNotRead) {
    EXPECT_THAT(error_of([] { static_cast<void>(read_domain(std::string((1U << 20U) + 1, ' '), "d.xml", "")); }),
                HasSubstr("larger than a domain can be"));
}

}  // namespace
}  // namespace understudy::tools

// What a user can write about a VM on the command line: what it becomes, and what each mistake is answered with.
#include "tools/command/vm_options.hpp"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "tests/unit/tools/error_of.hpp"

namespace understudy::tools {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;

VmDescription from_options(const std::vector<std::string>& arguments,
                           const std::vector<std::string>& program_arguments = {}) {
    CLI::App app;
    VmOptions options(app);
    options.arguments() = program_arguments;
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return options.description();
}

TEST(VmOptions, DescribeTheVmWithAndWithoutDefaults) {
    const VmDescription plain = from_options({"--program", "bin/kv"});
    EXPECT_EQ(plain.name, "kv");
    EXPECT_EQ(plain.memory, 64_MiB);
    EXPECT_FALSE(plain.network.present());
    EXPECT_FALSE(plain.root_archive);
    EXPECT_EQ(plain.kernel, "") << "the one that was built with the command";
    EXPECT_FALSE(plain.is_linux());

    const VmDescription full = from_options({"--name",    "shop",        "--program", "kv",
                                             "--memory",  "1G",          "--env",     "A=1",
                                             "--env",     "B=x=y",       "--root",    "r.tar",
                                             "--network", "tap:t0",      "--address", "192.168.7.9/20",
                                             "--gateway", "192.168.1.1", "--mac",     "52:54:00:aB:cd:ef",
                                             "--kernel",  "/k"},
                                            {"--port", "6379", "-v", "[a,b]", ""});
    EXPECT_EQ(full.name, "shop");
    EXPECT_EQ(full.memory, 1024_MiB);
    EXPECT_THAT(full.environment, ElementsAre("A=1", "B=x=y"));
    EXPECT_THAT(full.arguments, ElementsAre("--port", "6379", "-v", "[a,b]", ""));
    EXPECT_EQ(full.root_archive, "r.tar");
    EXPECT_EQ(full.network.endpoint, "tap:t0");
    EXPECT_EQ(full.network.ipv4_address, inet_addr("192.168.7.9"));
    EXPECT_EQ(full.network.ipv4_netmask, inet_addr("255.255.240.0"));
    EXPECT_EQ(full.network.ipv4_gateway, inet_addr("192.168.1.1"));
    EXPECT_EQ(full.network.mac, (MacAddress{0x52, 0x54, 0x00, 0xab, 0xcd, 0xef}));
    EXPECT_EQ(full.kernel, "/k");
}

TEST(VmOptions, LeaveToTheGatewaysDefaultsWhatTheyDoNotSay) {
    const auto network = [](std::vector<std::string> words) {
        words.insert(words.begin(), {"--image", "i", "--network", "gateway:unix:/g"});
        return from_options(words).network;
    };
    EXPECT_EQ(network({}).ipv4_address, inet_addr("10.0.2.15"));
    EXPECT_EQ(network({}).ipv4_gateway, inet_addr("10.0.2.2"));
    EXPECT_EQ(network({"--gateway", "10.0.2.99"}).ipv4_gateway, inet_addr("10.0.2.99"));
    EXPECT_EQ(network({"--gateway", "10.0.2.99"}).ipv4_address, inet_addr("10.0.2.15"));
    const auto given = network({"--address", "10.0.2.16/24", "--gateway", "10.0.2.2"});
    EXPECT_EQ(given.ipv4_address, inet_addr("10.0.2.16"));
    EXPECT_THAT(given.nameservers, ElementsAre("10.0.2.3"));
}

TEST(VmOptions, SayWhereALinuxGuestAsksForNames) {
    const std::vector<std::string> gateway = {"--image", "i", "--network", "gateway:unix:/g"};
    const std::vector<std::string> tap = {"--image", "i", "--network", "tap:t", "--address", "192.168.7.9/24"};
    const auto with = [](std::vector<std::string> words, const std::vector<std::string>& servers) {
        for (const std::string& server : servers) {
            words.insert(words.end(), {"--nameserver", server});
        }
        return words;
    };
    EXPECT_THAT(from_options(gateway).network.nameservers, ElementsAre("10.0.2.3"));
    EXPECT_THAT(from_options(tap).network.nameservers, ElementsAre());
    EXPECT_THAT(from_options(with(gateway, {"9.9.9.9"})).network.nameservers, ElementsAre("9.9.9.9"));
    EXPECT_THAT(from_options(with(tap, {"192.168.7.1", "9.9.9.9"})).network.nameservers,
                ElementsAre("192.168.7.1", "9.9.9.9"));
    EXPECT_THAT(error_of([&] { (void)from_options(with(tap, {"dns.example"})); }), HasSubstr("dns.example"));
    EXPECT_THAT(error_of([&] {
                    (void)from_options(with(tap, {"1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"}));
                }),
                HasSubstr("3 at the most"));
}

TEST(VmOptions, DescribeALinuxGuest) {
    const VmDescription plain = from_options({"--image", "images/redis.img"});
    EXPECT_TRUE(plain.is_linux());
    EXPECT_EQ(plain.name, "redis");
    EXPECT_EQ(plain.memory, 512_MiB);
    EXPECT_EQ(plain.kernel, "");
    EXPECT_EQ(plain.image, "images/redis.img");
    EXPECT_TRUE(plain.arguments.empty()) << "the image's own init";

    const VmDescription full = from_options(
        {"--image", "a.img", "--initrd", "i.cpio", "--cmdline", "loglevel=7", "--memory", "1G", "--kernel", "/vmlinux"},
        {"redis-server", "--port", "1"});
    EXPECT_EQ(full.initrd, "i.cpio");
    EXPECT_EQ(full.command_line, "loglevel=7");
    EXPECT_EQ(full.memory, 1024_MiB);
    EXPECT_EQ(full.kernel, "/vmlinux");
    EXPECT_THAT(full.arguments, ElementsAre("redis-server", "--port", "1"));

    EXPECT_EQ(from_options({"--initrd", "rescue.cpio"}).name, "rescue");
}

TEST(VmOptions, TheCommandIsNamedOnce) {
    EXPECT_EQ(from_options({"--image", "a.img", "--cmdline", "quiet -- sh -c date"}).command_line,
              "quiet -- sh -c date");
    EXPECT_THAT(error_of([] {
                    static_cast<void>(from_options({"--image", "a.img", "--cmdline", "-- sh"}, {"date"}));
                }),
                HasSubstr("the command is named twice"));
}

TEST(VmOptions, AGatewayNeedsNoAddressAndTheMacFollowsFromTheName) {
    const VmDescription one = from_options({"--program", "kv", "--network", "gateway:unix:g.sock"});
    EXPECT_EQ(one.network.ipv4_address, inet_addr("10.0.2.15"));
    EXPECT_EQ(one.network.ipv4_gateway, inet_addr("10.0.2.2"));
    EXPECT_EQ(one.network.mac, mac_of("kv"));
    EXPECT_NE(mac_of("kv"), mac_of("kw"));
    EXPECT_EQ(mac_of("kv")[0] & 1, 0) << "a group address";
}

struct Mistake {
    std::vector<std::string> arguments;
    std::string answer;
};

class OptionMistakes : public ::testing::TestWithParam<Mistake> {};

TEST_P(OptionMistakes, AreAnsweredInOneLineThatSaysWhatToDo) {
    const std::string answer = error_of([] { static_cast<void>(from_options(GetParam().arguments)); });
    EXPECT_THAT(answer, HasSubstr(GetParam().answer));
    EXPECT_EQ(answer.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    All, OptionMistakes,
    ::testing::Values(
        Mistake{{}, "Give --image FILE"}, Mistake{{"--program", "kv", "--domain", "x"}, "excludes"},
        Mistake{{"--image", "a.img", "--domain", "x"}, "excludes"},
        Mistake{{"--image", "a.img", "--program", "kv"}, "excludes"},
        Mistake{{"--image", "a.img", "--root", "r.tar"}, "requires --program"},
        Mistake{{"--program", "kv", "--memory", "64X"}, "'64X' is no size"},
        Mistake{{"--program", "kv", "--memory", "0"}, "'0' is no size"},
        Mistake{{"--program", "kv", "--memory", "-1"}, "'-1' is no size"},
        Mistake{{"--program", "kv", "--memory", "99999999999999999999"}, "is no size"},
        Mistake{{"--program", "kv", "--memory", "18014398509481984G"}, "is no size"},
        Mistake{{"--program", "kv", "--name", "a b"}, "'a b' is no name"},
        Mistake{{"--program", "kv", "--name", std::string(64, 'x')}, "is no name"},
        Mistake{{"--program", "kv", "--env", "A"}, "write --env NAME=VALUE"},
        Mistake{{"--program", "kv", "--env", "=A"}, "write --env NAME=VALUE"},
        Mistake{{"--program", "kv", "--network", "tap:t0"}, "add --address"},
        Mistake{{"--program", "kv", "--network", "bogus"}, "'bogus' is no network: write gateway:"},
        Mistake{{"--program", "kv", "--network", "tap:t0", "--address", "10.0.0.1"}, "no address with a prefix"},
        Mistake{{"--program", "kv", "--network", "tap:t0", "--address", "10.0.0.1/33"}, "no address with a prefix"},
        Mistake{{"--program", "kv", "--network", "tap:t0", "--address", "10.0.0/8"}, "no IPv4 address"},
        Mistake{{"--program", "kv", "--network", "tap:t0", "--address", "10.0.0.1/24", "--gateway", "10.0.1.1"},
                "gateway of VM kv is not in the network"},
        Mistake{{"--program", "kv", "--mac", "52:54:00:12:34"}, "no MAC address"},
        Mistake{{"--program", "kv", "--mac", "53:54:00:12:34:56"}, "no MAC address"},
        Mistake{{"--program", "kv", "--mac", "52-54-00-12-34-56"}, "no MAC address"},
        Mistake{{"--domain", "no/such/file.xml"}, "cannot read the domain no/such/file.xml: No such file"}));

TEST(VmOptions, ADomainAnswersAllButTheEnvironment) {
    const VmDescription vm =
        from_options({"--domain", UNDERSTUDY_SOURCE_DIR "/tests/data/domains/redis.xml", "--env", "A=1"});
    EXPECT_EQ(vm.name, "redis");
    EXPECT_THAT(vm.environment, ElementsAre("A=1"));
    EXPECT_THAT(error_of([] {
                    static_cast<void>(
                        from_options({"--domain", UNDERSTUDY_SOURCE_DIR "/tests/data/domains/redis.xml"}, {"--port"}));
                }),
                HasSubstr("give none after '--'"));
}

}  // namespace
}  // namespace understudy::tools

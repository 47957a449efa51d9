// A pair of hosts that do not trust their network: arbiters, gateway and replicas by TCP, each under its own
// certificate; and who does not get between them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/sandbox/sandbox.hpp"
#include "common/tls/authority.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tools/demo/replica.hpp"
#include "tools/demo/services.hpp"
#include "tools/demo/stage.hpp"
#include "tools/process/free_ports.hpp"
#include "tools/verifier/verifier.hpp"

namespace understudy::tools {
namespace {

using replication::Role;
using ::testing::AnyOf;
using testing::contents;
using ::testing::HasSubstr;
using testing::kExecutable;
using testing::kPatience;
using testing::kSuspicion;
using testing::OnKvm;

constexpr const char* kProgram = UNDERSTUDY_BINARY_DIR "/programs/kv";

class EncryptedPair : public OnKvm {
  protected:
    void SetUp() override {
        OnKvm::SetUp();
        if (IsSkipped()) {
            return;
        }
        arbiters_ = start_arbiters(stage_, kExecutable);
        const auto of = [](tls::Role role, const std::string& name, std::vector<VmId> vms) {
            return tls::Identity{.role = role, .name = name, .vms = std::move(vms)};
        };
        tls::make_certificates(arbiters_.certificates,
                               {of(tls::Role::host, "host-a", {"kv"}), of(tls::Role::host, "host-b", {"kv"}),
                                of(tls::Role::host, "host-mail", {"mail"}), of(tls::Role::client, "client-c", {}),
                                of(tls::Role::gateway, "gateway-g", {"kv"})});
        start_gateway_by_tcp();
    }

    void start_gateway_by_tcp() {
        gateway_address_ = fmt::format("127.0.0.1:{}", free_port());
        service_port_ = free_port();
        gateway_ =
            stage_.start("gateway",
                         {kExecutable, "gateway", "--listen", gateway_address_, "--tls", credentials("gateway-g"),
                          "--forward", fmt::format("tcp:127.0.0.1:{}:6379", service_port_), "--json"},
                         [](std::string_view /*line*/) {});
        stage_.expect("gateway", gateway_);
        stage_.until([&] { return gateway_said("listening"); }, kPatience, "the gateway");
    }
    [[nodiscard]] bool gateway_said(const std::string& what) {
        return contents(stage_.directory().path() / "gateway.out").find(what) != std::string::npos;
    }
    [[nodiscard]] std::string credentials(const std::string& name) const { return arbiters_.certificates / name; }

    Replica& start(const std::string& who, std::vector<std::string> command, const std::string& credentials) {
        const std::vector<std::string> rest = {"--listen",    "127.0.0.1:0", "--json", "--arbiter", arbiters_.url,
                                               "--suspicion", kSuspicion,    "--tls",  credentials};
        command.insert(command.begin(), kExecutable);
        command.insert(command.begin() + 2, rest.begin(), rest.end());
        return *replicas_.emplace_back(std::make_unique<Replica>(stage_, who, std::move(command), " ready "));
    }
    Replica& start_primary() {
        Replica& primary = start("primary",
                                 {"primary", "--name", "kv", "--program", kProgram, "--memory", "64M", "--network",
                                  "gateway:" + gateway_address_},
                                 credentials("host-a"));
        stage_.until([&] { return primary.serves(); }, kPatience, "a primary");
        return primary;
    }
    Replica& start_backup(const std::string& who, const Replica& primary, const std::string& credentials,
                          const std::string& vm = "kv") {
        return start(
            who, {"backup", "--name", vm, "--primary", primary.address(), "--network", "gateway:" + gateway_address_},
            credentials);
    }
    // What somebody is told who comes with this.
    std::string turned_away(const Replica& primary, const std::string& credentials, const std::string& vm = "kv") {
        const Replica& stranger = start_backup("stranger", primary, credentials, vm);
        stage_.until([&] { return !stranger.running(); }, kPatience, "a refusal");
        EXPECT_THAT(stranger.end(), HasSubstr("ended with status 1: understudy: "));
        return stranger.end();
    }

    Stage stage_;
    Arbiters arbiters_;
    std::shared_ptr<Child> gateway_;
    std::string gateway_address_;
    std::uint16_t service_port_ = 0;
    std::vector<std::unique_ptr<Replica>> replicas_;
};

TEST_F(EncryptedPair, SurvivesItsPrimaryAndLosesNothing) {
    Replica& first = start_primary();
    Replica& second = start_backup("backup", first, credentials("host-b"));
    stage_.until([&] { return first.role() == Role::leading; }, kPatience, "a protected guest");
    Verifier clients({.server = fmt::format("127.0.0.1:{}", service_port_), .connections = 8});
    clients.start(kPatience);
    stage_.until([&] { return clients.since_start().acknowledged_writes > 200; }, kPatience, "writes");
    stage_.until([&] { return gateway_said("standing_by"); }, kPatience, "a backup that stands by");
    first.signal(SIGKILL);
    stage_.until([&] { return second.went_live(); }, kPatience, "a takeover");
    clients.mark();
    stage_.until([&] { return clients.since_mark().acknowledged_writes > 200; }, kPatience,
                 "writes after the takeover");

    Replica& third = start_backup("third", second, credentials("host-a"));
    stage_.until([&] { return third.role() == Role::following && second.role() == Role::leading; }, kPatience,
                 "a protected guest again");
    EXPECT_TRUE(clients.final_check(kPatience));
    EXPECT_TRUE(clients.since_start().clean()) << clients.since_start().first_finding;
    EXPECT_EQ(second.divergences() + third.divergences(), 0U);
}

TEST_F(EncryptedPair, StrangersAreTurnedAwayAndThePrimaryGoesOn) {
    const Replica& primary = start_primary();
    EXPECT_THAT(turned_away(primary, credentials("host-mail"), "mail"), HasSubstr("not for the VM 'mail'"));
    EXPECT_THAT(contents(stage_.directory().path() / "primary.out"),
                HasSubstr("the certificate of 'host-mail' is not for the VM 'kv'"));
    EXPECT_THAT(turned_away(primary, credentials("host-mail")), HasSubstr("not for the VM 'kv'"));
    EXPECT_THAT(turned_away(primary, credentials("client-c")), HasSubstr("is for a client, and a host's are wanted"));
    const TemporaryDirectory elsewhere;
    const tls::Identity same{.role = tls::Role::host, .name = "host-b", .vms = {"kv"}};
    tls::make_certificates(elsewhere.path(), {same});
    EXPECT_THAT(turned_away(primary, elsewhere.path() / "host-b"),
                HasSubstr("the other side's certificate is of another authority"));
    const TemporaryDirectory expired;
    tls::make_certificates(expired.path(), {same}, std::chrono::seconds(-1));
    EXPECT_THAT(turned_away(primary, expired.path() / "host-b"), HasSubstr("it was valid until"));
    EXPECT_TRUE(primary.running());
    EXPECT_EQ(primary.role(), Role::solo);
    EXPECT_TRUE(gateway_said("attached"));
    EXPECT_FALSE(gateway_said("detached"));
}

// The number behind `name` in what the kernel says of a thread, as it says it.
std::string field(const std::filesystem::path& thread, const std::string& name) {
    std::ifstream status(thread / "status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(name + ":")) {
            return line.substr(line.find_last_of(" \t") + 1);
        }
    }
    return "";
}

TEST_F(EncryptedPair, IsConfinedInEveryThread) {
    if (!sandbox::available()) {
        GTEST_SKIP() << "no sandbox in a build for a sanitizer";
    }
    const Replica& primary = start_primary();
    const Replica& backup = start_backup("backup", primary, credentials("host-b"));
    stage_.until([&] { return backup.role() == Role::following; }, kPatience, "a protected guest");
    const auto filters = [](pid_t process) {
        std::multiset<std::string> found;
        for (const auto& thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", process))) {
            EXPECT_EQ(field(thread, "NoNewPrivs"), "1");
            EXPECT_EQ(field(thread, "Seccomp"), "2");
            EXPECT_THAT(field(thread, "CapEff"), AnyOf("0000000000000000", "0000000000800000"));  // CAP_SYS_NICE
            found.insert(field(thread, "Seccomp_filters"));
        }
        return found;
    };
    for (const auto& server : arbiters_.servers) {
        EXPECT_EQ(filters(server->pid()).count("2"), 0U);
    }
    EXPECT_EQ(filters(gateway_->pid()).count("2"), 0U);
    stage_.until([&] { return filters(primary.pid()).contains("2") && filters(backup.pid()).contains("2"); }, kPatience,
                 "the guest's thread to have a filter of its own");

    const auto free = stage_.start(
        "free", {kExecutable, "gateway", "--no-sandbox", "--listen", "127.0.0.1:0", "--tls", credentials("gateway-g")},
        [](std::string_view /*line*/) {});
    stage_.until([&] { return !contents(stage_.directory().path() / "free.out").empty(); }, kPatience, "a gateway");
    EXPECT_EQ(field(fmt::format("/proc/{}", free->pid()), "Seccomp"), "0");
}

}  // namespace
}  // namespace understudy::tools

#include "hypervisor/replication/replica/replica.hpp"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <exception>
#include <thread>

#include "common/name.hpp"
#include "hypervisor/engine/kvm/kvm_engine.hpp"
#include "hypervisor/machine/cpuid_table.hpp"
#include "hypervisor/machine/first_write.hpp"
#include "hypervisor/machine/guest.hpp"
#include "hypervisor/replication/replica/replica_driver.hpp"

namespace understudy::replication {

ReplicaId make_replica_id() {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    std::uint32_t random = 0;
    if (::getrandom(&random, sizeof random, 0) != sizeof random) {
        throw Error("getrandom gives no bytes");
    }
    // A host's name may be anything; a replica's is not.
    std::string name(host.data());
    std::ranges::replace_if(
        name, [](char c) { return !is_name_character(c); }, '?');
    return fmt::format("{}/{}/{:08x}", name, ::getpid(), random);
}
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Asks the primary until it answers or the time is up: it may not listen yet, or still be claiming its VM, or deciding
// about a backup that it has lost. Who joins again asks even where it is refused: its primary may not know yet that it
// has lost the backup which this one was before.
channel::Joined join_primary(boost::asio::io_context& io, const BackupConfig& config, const channel::Hello& hello,
                             bool joins_again) {
    const auto deadline = Clock::now() + config.join_timeout;
    channel::ChannelOptions options;
    options.tls = config.replica.tls;
    const auto pause = joins_again ? 20ms : 200ms;
    for (;;) {
        std::optional<channel::JoinResult> result;
        channel::join(io, config.primary_host, config.primary_port, hello, 2s, options,
                      [&](channel::JoinResult answer) { result = std::move(answer); });
        io.restart();
        while (!result) {
            io.run_one();
        }
        if (auto* joined = std::get_if<channel::Joined>(&*result)) {
            return std::move(*joined);
        }
        const auto& failure = std::get<channel::JoinFailure>(*result);
        if ((failure.refused && !joins_again) || Clock::now() + pause > deadline) {
            throw Error(failure.reason);
        }
        std::this_thread::sleep_for(pause);
    }
}

// Much memory takes seconds to get, and its primary wants to hear from the backup meanwhile.
std::unique_ptr<machine::Machine> make_machine(boost::asio::io_context& io, channel::Joined& joined,
                                               const std::string& image) {
    joined.connection->keep_alive();
    std::exception_ptr failure;
    std::unique_ptr<machine::Machine> machine;
    const auto busy = boost::asio::make_work_guard(io);
    io.restart();
    const std::jthread maker([&] {
        try {
            machine = machine::blank(joined.welcome.guest, image, engine::KvmEngines());
        } catch (...) {
            failure = std::current_exception();
        }
        io.stop();
    });
    io.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
    return machine;
}

// What this host is like, which a guest that lives here is paced by.
void measure_host(RecorderConfig& recorder) {
    if (const auto first_write = machine::measure_first_write(engine::KvmEngines()); first_write.count() > 0) {
        recorder.first_write = first_write;
    }
}

}  // namespace

ReplicaResult run_primary(const machine::GuestConfig& guest, ReplicaConfig config) {
    measure_host(config.recorder);
    auto machine = machine::boot(guest, engine::KvmEngines());
    static_cast<void>(machine->shape());  // reads the disk now, not when a backup waits for it
    const VmId& vm = machine::name_of(guest);
    boost::asio::io_context io(1);
    RoleConfig role;
    role.vm = vm;
    role.self = config.id;
    ReplicaDriver replica(config, vm, std::move(machine), RoleMachine::claim(role), io);
    replica.lead();
    return replica.run();
}

namespace {

ReplicaResult follow(const BackupConfig& config, bool again) {
    boost::asio::io_context io(1);
    channel::Hello hello;
    hello.vm = config.vm;
    hello.replica = config.replica.id;
    hello.engine = engine::kKvmEngineName;
    hello.cpu_table_digest = machine::cpuid_table_digest();
    hello.version = UNDERSTUDY_VERSION;
    channel::Joined joined = join_primary(io, config, hello, again);
    std::unique_ptr<machine::Machine> machine = make_machine(io, joined, config.image);
    RoleConfig role;
    role.vm = config.vm;
    role.self = config.replica.id;
    RoleMachine roles = RoleMachine::join(role, joined.welcome.replica, joined.welcome.generation);
    io.restart();
    ReplicaDriver replica(config.replica, config.vm, std::move(machine), std::move(roles), io);
    replica.follow(std::move(joined), again);
    return replica.run();
}

// A difference that comes back soon is in the guest's state or in this host, and a transfer does not mend it.
class Patience {
  public:
    void wait() {
        const auto now = Clock::now();
        pause_ = now - last_ > kSoon ? 0ms : std::clamp(2 * pause_, kShortest, kLongest);
        std::this_thread::sleep_for(pause_);
        last_ = Clock::now();
    }

  private:
    static constexpr std::chrono::milliseconds kSoon = 10s;
    static constexpr std::chrono::milliseconds kShortest = 250ms;
    static constexpr std::chrono::milliseconds kLongest = 5s;
    std::chrono::milliseconds pause_{0};
    Clock::time_point last_;
};

}  // namespace

ReplicaResult run_backup(BackupConfig config) {
    measure_host(config.replica.recorder);
    Patience patience;
    for (bool again = false;; again = true) {
        try {
            return follow(config, again);
        } catch (const CannotFollow& failure) {
            if (config.replica.observer.on_warning) {
                config.replica.observer.on_warning(std::string(failure.what()) + "; joins the primary anew");
            }
        }
        patience.wait();
        config.replica.id = make_replica_id();
    }
}

}  // namespace understudy::replication

// The arbiter as its users see it: a register of generations per VM with a test-and-set in each, decided by majority.
// One interface, two engines behind it: our own Raft servers (raft://) and an etcd cluster (etcd://).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/units.hpp"

namespace boost::asio {
class io_context;
}

namespace understudy::arbiter {

// What the arbiter knows of a VM: the newest generation, who belongs to it, and who won its test-and-set, if asked.
struct VmState {
    Generation generation;
    std::vector<ReplicaId> members;
    std::optional<ReplicaId> winner;

    bool operator==(const VmState&) const = default;
};

// The three answers there are. `unknown`: the arbiter could not be asked or its answer was lost within the deadline;
// the operation may or may not have happened, now or later.
enum class Verdict { yes, no, unknown };

struct Outcome {
    Verdict verdict = Verdict::unknown;
    std::optional<VmState> current;  // the VM's state after the operation, where an answer arrived
    std::string explanation;         // one line for the user when the verdict is not yes
};

// Replaces generation `expected` by `next` with `members`. Granted when the VM's generation is `expected` (0: the VM is
// unknown) and `proposer` owns it: it is the winner of `expected`, or its only member. A claim is expected = 0, next = 1,
// members = {proposer}. Repeating a granted request gets the same answer.
struct FormRequest {
    VmId vm;
    Generation expected;
    Generation next;
    ReplicaId proposer;
    std::vector<ReplicaId> members;
};

// The first member of `generation` to ask wins; the winner's repeated question is answered yes again, everyone else's
// no. A generation that is not the newest, or a candidate that is not its member, is answered no.
struct TestAndSetRequest {
    VmId vm;
    Generation generation;
    ReplicaId candidate;
};

// Asynchronous; every method is called on, and every callback runs on, the thread of the io_context given to connect().
// Each callback is called exactly once, no later than shortly after `timeout`, unless the client is destroyed first.
// The client retries and follows the leader by itself within the timeout.
class Client {
  public:
    using Callback = std::function<void(Outcome)>;
    using ListCallback = std::function<void(Verdict, std::vector<std::pair<VmId, VmState>>, std::string explanation)>;

    virtual ~Client() = default;
    virtual void form(const FormRequest& request, std::chrono::milliseconds timeout, Callback done) = 0;
    virtual void test_and_set(const TestAndSetRequest& request, std::chrono::milliseconds timeout, Callback done) = 0;
    // Linearizable read; verdict no: the VM is not registered.
    virtual void read(const VmId& vm, std::chrono::milliseconds timeout, Callback done) = 0;
    virtual void list(std::chrono::milliseconds timeout, ListCallback done) = 0;
};

// `url`: "raft://host:port,host:port,host:port" or "etcd://...". Throws understudy::Error on a malformed URL; an
// unreachable arbiter shows as Verdict::unknown.
[[nodiscard]] std::unique_ptr<Client> connect(boost::asio::io_context& io, std::string_view url);

}  // namespace understudy::arbiter

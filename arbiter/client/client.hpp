// The arbiter as its users see it: a register of generations per VM with a test-and-set in each, decided by majority.
// One interface, two engines behind it: our own Raft servers (raft://) and an etcd cluster (etcd://).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arbiter/register/requests.hpp"

namespace boost::asio {
class io_context;
}

namespace understudy::arbiter {

// Asynchronous; every method is called on, and every callback runs on, the thread of the io_context given to connect().
// Each callback is called exactly once, no later than shortly after `timeout`, unless the client is destroyed first.
// The client retries and follows the leader by itself within the timeout.
class Client {
  public:
    using Callback = std::function<void(Outcome)>;
    using ListCallback = std::function<void(Verdict, std::vector<std::pair<VmId, VmState>>, std::string explanation)>;

    virtual ~Client() = default;
    void form(const FormRequest& request, std::chrono::milliseconds timeout, Callback done) {
        submit(request, timeout, std::move(done));
    }
    void test_and_set(const TestAndSetRequest& request, std::chrono::milliseconds timeout, Callback done) {
        submit(request, timeout, std::move(done));
    }
    // Linearizable read; verdict no: the VM is not registered.
    virtual void read(const VmId& vm, std::chrono::milliseconds timeout, Callback done) = 0;
    virtual void list(std::chrono::milliseconds timeout, ListCallback done) = 0;

  private:
    virtual void submit(VmOperation operation, std::chrono::milliseconds timeout, Callback done) = 0;
};

// `url`: "raft://host:port,host:port,host:port" or "etcd://...". Throws understudy::Error on a malformed URL; an
// unreachable arbiter shows as Verdict::unknown.
[[nodiscard]] std::unique_ptr<Client> connect(boost::asio::io_context& io, std::string_view url);

}  // namespace understudy::arbiter

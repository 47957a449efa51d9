// The arbiter as its users see it: a register that holds, for each VM, its newest generation and who won that
// generation's test-and-set. Servers decide by majority, so that no single failure stops it or makes it contradict
// itself. One interface, two engines behind it: our own Raft servers (raft://) and an etcd cluster (etcd://).
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

struct ParsedUrl;

// Asynchronous, on one thread, which is that of the io_context given to connect(): every method is called there, and
// every callback. A callback is called once, at the latest a little after `timeout`, never from within the call that it
// was given to. If the client is destroyed before, it is not called at all; a callback may destroy the client.
//
// Until the time is up the client asks again and follows the leader by itself. With our own servers a timeout of more
// than five minutes counts as five.
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
    void end(const EndRequest& request, std::chrono::milliseconds timeout, Callback done) {
        submit(request, timeout, std::move(done));
    }
    // The VM's present state: a linearizable read. Verdict no: the VM is not registered.
    virtual void read(const VmId& vm, std::chrono::milliseconds timeout, Callback done) = 0;
    // All VMs, in the order of their names. What changes meanwhile may be in it or not.
    virtual void list(std::chrono::milliseconds timeout, ListCallback done) = 0;

  private:
    virtual void submit(VmOperation operation, std::chrono::milliseconds timeout, Callback done) = 0;
};

// From a URL to a client of one of the two engines:
//
//   raft://host:port,host:port,…[?tls=FOLDER/NAME][&cluster=NAME]
//   etcd://host:port,host:port,…[?prefix=TEXT]
//
// FOLDER/NAME are credentials that `understudy init` made (tls::Context). Without them a raft:// connection is plain
// text, and every host must be on loopback.
//
// The io_context outlives the client. Throws understudy::Error on a malformed URL and on unusable certificates; an
// arbiter that cannot be reached shows as Verdict::unknown.
[[nodiscard]] std::unique_ptr<Client> connect(boost::asio::io_context& io, std::string_view url);
// The same, from a URL that has been read, with its credentials (engines.hpp).
[[nodiscard]] std::unique_ptr<Client> connect(boost::asio::io_context& io, const ParsedUrl& url);

}  // namespace understudy::arbiter

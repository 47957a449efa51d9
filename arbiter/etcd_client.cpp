#include "arbiter/engines.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {

std::unique_ptr<Client> connect_etcd(boost::asio::io_context& /*io*/, const ParsedUrl& /*url*/) {
    throw Error("etcd:// is not served yet; use raft://");
}

}  // namespace understudy::arbiter

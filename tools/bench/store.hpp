// What is compared: a Redis that survives the death of the process that serves, in whatever way.
#pragma once

namespace understudy::tools {

class Store {
  public:
    Store() = default;
    virtual ~Store() = default;
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;

    // Each of the following throws understudy::Error when it does not come about.

    // SIGKILL to the process that serves.
    virtual void kill() = 0;
    // Returns when another one serves.
    virtual void await_takeover() = 0;
    // What was killed begins anew, as the one that is to take over next.
    virtual void restart() = 0;
    // Returns when it could.
    virtual void await_redundancy() = 0;
};

}  // namespace understudy::tools

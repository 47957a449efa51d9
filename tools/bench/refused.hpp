// The error of a server that is there and does not do what it was asked: the connection is none the worse for it.
#pragma once

#include "common/error.hpp"

namespace understudy::tools {

class Refused : public Error {
  public:
    using Error::Error;
};

}  // namespace understudy::tools

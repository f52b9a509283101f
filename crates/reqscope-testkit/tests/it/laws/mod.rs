mod broken;
mod faults;
mod right;

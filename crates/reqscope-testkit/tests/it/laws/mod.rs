mod broken;
mod right;
